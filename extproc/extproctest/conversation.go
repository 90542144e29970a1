package extproctest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	filterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	"github.com/rogpeppe/go-internal/txtar"
	"google.golang.org/grpc"
)

// Conversation is a parsed conversation file; the package comment has the
// grammar.
type Conversation struct {
	// File names errors.
	File string
	// Promise is the first line.
	Promise string
	Config  Config
	// Sections are all others of the archive, by name: what the test that runs
	// the file wants to know besides (a policy, what an engine says).
	Sections map[string][]byte

	lines []line
}

// line is one statement.
type line struct {
	number int
	words  []string
}

// RunConversation reads file and holds the conversation with the processor
// behind conn. Errors name file and line.
func RunConversation(t testing.TB, conn grpc.ClientConnInterface, file string) {
	t.Helper()
	c, err := LoadConversation(file)
	if err != nil {
		t.Fatal(err)
	}
	c.Run(t, conn)
}

// LoadConversation reads and parses a conversation file.
func LoadConversation(file string) (Conversation, error) {
	data, err := os.ReadFile(filepath.Clean(file))
	if err != nil {
		return Conversation{}, err
	}
	return ParseConversation(file, data)
}

// ParseConversation parses a conversation file; name is for errors only.
func ParseConversation(name string, data []byte) (Conversation, error) {
	a := txtar.Parse(data)
	promise, _, _ := strings.Cut(string(a.Comment), "\n")
	c := Conversation{File: name, Promise: strings.TrimSpace(promise), Config: Duplex(), Sections: map[string][]byte{}}
	if c.Promise == "" {
		return c, fmt.Errorf("%s:1: the first line must state the promise", name)
	}
	number := strings.Count(string(a.Comment), "\n")
	for _, f := range a.Files {
		number++ // the section's marker
		var err error
		switch f.Name {
		case "config":
			err = c.parseConfig(number, string(f.Data))
		case "conversation":
			err = c.parseLines(number, string(f.Data))
		default:
			c.Sections[f.Name] = f.Data
		}
		if err != nil {
			return c, err
		}
		number += strings.Count(string(f.Data), "\n")
	}
	if len(c.lines) == 0 {
		return c, fmt.Errorf("%s: no conversation section, or an empty one", name)
	}
	return c, nil
}

// statements returns the lines that are neither blank nor comments.
func statements(number int, text string) []line {
	var out []line
	for raw := range strings.Lines(text) {
		number++
		if s := strings.TrimSpace(raw); s != "" && !strings.HasPrefix(s, "#") {
			out = append(out, line{number, splitWords(s)})
		}
	}
	return out
}

func (c *Conversation) parseLines(number int, text string) error {
	c.lines = append(c.lines, statements(number, text)...)
	for _, l := range c.lines {
		switch w := l.words; {
		case len(w) == 2 && w[0] == "wait", len(w) >= 2 && (w[0] == ">" || w[0] == "<"):
		default:
			return fmt.Errorf("%s:%d: a statement begins with >, < or wait", c.File, l.number)
		}
	}
	return nil
}

func (c *Conversation) parseConfig(number int, text string) error {
	for _, l := range statements(number, text) {
		if len(l.words) != 2 || !strings.HasSuffix(l.words[0], ":") {
			return fmt.Errorf("%s:%d: a setting is written \"name: value\"", c.File, l.number)
		}
		if err := c.set(strings.TrimSuffix(l.words[0], ":"), l.words[1]); err != nil {
			return fmt.Errorf("%s:%d: %w", c.File, l.number, err)
		}
	}
	return nil
}

func (c *Conversation) set(name, value string) error {
	m := c.Config.Mode
	flags := map[string]*bool{
		"allow-mode-override":        &c.Config.AllowModeOverride,
		"disable-immediate-response": &c.Config.DisableImmediateResponse,
		"observability-mode":         &c.Config.ObservabilityMode,
		"no-protocol-config":         &c.Config.Quirks.NoProtocolConfig,
	}
	bodies := map[string]*filterv3.ProcessingMode_BodySendMode{
		"request-body-mode": &m.RequestBodyMode, "response-body-mode": &m.ResponseBodyMode,
	}
	headers := map[string]*filterv3.ProcessingMode_HeaderSendMode{
		"request-header-mode": &m.RequestHeaderMode, "response-header-mode": &m.ResponseHeaderMode,
		"request-trailer-mode": &m.RequestTrailerMode, "response-trailer-mode": &m.ResponseTrailerMode,
	}
	switch {
	case name == "profile":
		return c.setProfile(value)
	case flags[name] != nil:
		if value != "true" && value != "false" {
			return fmt.Errorf("%s is true or false, not %q", name, value)
		}
		*flags[name] = value == "true"
		return nil
	case bodies[name] != nil:
		v, ok := filterv3.ProcessingMode_BodySendMode_value[value]
		if !ok {
			return fmt.Errorf("%q is no body mode", value)
		}
		*bodies[name] = filterv3.ProcessingMode_BodySendMode(v)
		return nil
	case headers[name] != nil:
		v, ok := filterv3.ProcessingMode_HeaderSendMode_value[value]
		if !ok {
			return fmt.Errorf("%q is no header or trailer mode", value)
		}
		*headers[name] = filterv3.ProcessingMode_HeaderSendMode(v)
		return nil
	}
	return fmt.Errorf("unknown setting %q", name)
}

func (c *Conversation) setProfile(name string) error {
	switch name {
	case "duplex":
		c.Config = Duplex()
	case "buffered":
		c.Config = Buffered()
	case "adaptive":
		c.Config = Adaptive()
	default:
		return fmt.Errorf("%q is none of the profiles duplex, buffered, adaptive", name)
	}
	return nil
}
