package app

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/gate"
)

type scanCommand struct {
	configFlag

	Policy  string   `placeholder:"NAME" help:"Policy to scan under; \"default\" if not given."`
	JSON    bool     `name:"json" help:"One JSON object a file, for programs."`
	Explain bool     `help:"Show every object found in the file: its type, size, SHA-256 and verdict."`
	Files   []string `arg:"" name:"file" help:"Files to scan; - is standard input."`
}

// Help is shown by --help.
func (scanCommand) Help() string {
	return `Examples:
  portcullis scan report.pdf
  portcullis scan --config portcullis.yaml --json *.zip
  portcullis scan --explain mail.eml
  curl -s https://example.com/file | portcullis scan -`
}

// scanLine is what is said of one file; the JSON form is an interface.
type scanLine struct {
	File    string   `json:"file"`
	Outcome string   `json:"outcome"`
	Cause   string   `json:"cause"`
	Action  string   `json:"action"`
	Threats []string `json:"threats,omitempty"`
	Engine  string   `json:"engine,omitempty"`
	Object  string   `json:"object,omitempty"`
	Objects int      `json:"objects"`
	Size    int64    `json:"size"`
	SHA256  string   `json:"sha256,omitempty"`
	Policy  string   `json:"policy"`
	Detail  string   `json:"detail,omitempty"`
	// Tree is there with --explain.
	Tree []objectLine `json:"tree,omitempty"`
}

// Run scans the files in order. It exits with the worst of what it found.
func (c scanCommand) Run(ctx context.Context, p Process) error {
	made, err := c.build()
	if err != nil {
		return err
	}
	defer made.close()
	g := gate.New(made.setup)
	worst := exitOK
	for _, file := range c.Files {
		line, err := c.scanFile(ctx, g, p, file)
		code := exitError
		if err != nil {
			fmt.Fprintf(p.Stderr, "portcullis: %s\n", printableLines(err.Error()))
		} else {
			code = exitCode(line.Outcome)
			if err := c.print(p.Stdout, line); err != nil {
				return err
			}
		}
		worst = max(worst, code)
	}
	if worst != exitOK {
		return codeError(worst)
	}
	return nil
}

func exitCode(outcome string) int {
	switch outcome {
	case scan.OutcomeClean.String():
		return exitOK
	case scan.OutcomeError.String():
		return exitError
	}
	return exitNotClean
}

func (c scanCommand) scanFile(ctx context.Context, g *gate.Gate, p Process, file string) (scanLine, error) {
	content, size, err := openFile(p, file)
	if err != nil {
		return scanLine{}, err
	}
	defer func() { _ = content.Close() }()
	meter := newProgress(p.Stderr, p.Getenv, file, size)
	r, err := g.ScanSingle(ctx, gate.Single{Policy: c.Policy, Name: file, Explain: c.Explain}, io.TeeReader(content, meter))
	meter.done()
	if err != nil {
		return scanLine{}, fmt.Errorf("read %s: %w", printable(file), err)
	}
	v := r.Decision.Verdict
	if v.Cause == scan.CauseUnknownPolicy {
		return scanLine{}, fmt.Errorf("there is no policy named %q", c.Policy)
	}
	line := scanLine{
		File: file, Outcome: v.Outcome.String(), Cause: string(v.Cause), Action: r.Decision.Action.String(),
		Threats: scan.SafeThreats(v.Threats), Engine: v.Engine, Object: v.Object,
		Objects: r.Objects, Size: r.Size, Policy: r.Policy, Detail: v.Detail,
	}
	if c.Explain {
		line.Tree = objectLines(r.Tree)
	}
	if r.SHA256 != [32]byte{} {
		line.SHA256 = hex.EncodeToString(r.SHA256[:])
	}
	return line, nil
}

func openFile(p Process, file string) (io.ReadCloser, int64, error) {
	if file == "-" {
		return io.NopCloser(p.Stdin), 0, nil
	}
	f, err := os.Open(file) //nolint:gosec // the user's own file
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = fmt.Errorf("%s is a folder: name the files in it", printable(file))
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

func (c scanCommand) print(w io.Writer, l scanLine) error {
	if c.JSON {
		return json.NewEncoder(w).Encode(l)
	}
	text := printable(l.File) + ": " + l.Outcome
	var why []string
	if l.Outcome != scan.OutcomeClean.String() {
		why = append(why, l.Cause)
	}
	why = append(why, l.Threats...)
	if l.Object != "" && l.Object != "body" {
		why = append(why, "in "+l.Object)
	}
	if l.Engine != "" && len(why) > 0 {
		why = append(why, "found by "+l.Engine)
	}
	if len(why) > 0 {
		text += " (" + strings.Join(why, ", ") + ")"
	}
	if l.Detail != "" {
		text += ": " + printable(l.Detail)
	}
	if _, err := fmt.Fprintln(w, text); err != nil {
		return err
	}
	return printTree(w, l.Tree)
}

// printable makes foreign text safe for a terminal: what is not printable is
// escaped as in a Go string.
func printable(s string) string {
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], string(utf8.RuneError)):
			fmt.Fprintf(&b, `\x%02x`, s[i]) // no UTF-8
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		}
	}
	return b.String()
}

// printableLines is printable for text of several lines, such as joined errors.
func printableLines(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = printable(lines[i])
	}
	return strings.Join(lines, "\n")
}

// silent is the observer of commands that print what they found themselves.
type silent struct{}

// Observe implements [gate.Observer].
func (silent) Observe(*gate.Record) {}
