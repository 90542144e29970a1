package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// MaxFileBytes is the largest configuration file that is read.
const MaxFileBytes = 1 << 20

// source is the text of a configuration file, proven to be one YAML document.
type source struct {
	text  []byte // UTF-8, lines ended by \n only
	lines []string
	root  *yaml.Node // nil: the document is empty
}

// readSource returns the document, or the one problem that keeps it from being
// read at all.
func readSource(data []byte) (source, *Problem) {
	if len(data) > MaxFileBytes {
		return source{}, &Problem{Message: fmt.Sprintf("is larger than %d bytes", MaxFileBytes)}
	}
	text := bytes.TrimPrefix(data, []byte("\ufeff"))
	text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
	if p := findForeignCharacter(text); p != nil {
		return source{}, p
	}
	src := source{text: text, lines: strings.Split(string(text), "\n")}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var document, second yaml.Node
	switch err := decoder.Decode(&document); {
	case errors.Is(err, io.EOF):
		return src, nil
	case err != nil:
		return src, src.syntaxProblem(err)
	}
	switch err := decoder.Decode(&second); {
	case errors.Is(err, io.EOF):
	case err != nil:
		return src, src.syntaxProblem(err)
	default:
		return src, &Problem{Line: second.Line, Column: second.Column, Message: "a second YAML document begins here; put everything into one"}
	}
	if len(document.Content) == 1 && document.Content[0].ShortTag() != "!!null" {
		src.root = document.Content[0]
	}
	return src, nil
}

// findForeignCharacter refuses what is no text, and the line ends that YAML 1.1
// knows beside \n and \r\n: editors do not show them, and line numbers would lie.
func findForeignCharacter(text []byte) *Problem {
	line, column := 1, 1
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRune(text[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			return &Problem{Line: line, Column: column, Message: "is not UTF-8; save the file in that encoding"}
		case r == '\n':
			line, column = line+1, 0
		case r < 0x20 && r != '\t', r >= 0x7f && r < 0xa0, r == '\u2028', r == '\u2029', r == '\ufeff':
			return &Problem{Line: line, Column: column, Message: fmt.Sprintf("holds the control character U+%04X; remove it", r)}
		}
		column++
		i += size
	}
	return nil
}

var yamlError = regexp.MustCompile(`(?s)^yaml: (?:line (\d+): )?(.*)$`)

func (s source) syntaxProblem(err error) *Problem {
	p := &Problem{Message: err.Error()}
	if m := yamlError.FindStringSubmatch(err.Error()); m != nil {
		p.Line, _ = strconv.Atoi(m[1]) // absent: 0, unknown
		p.Message = m[2]
	}
	p.Message = "is not YAML: " + strings.ReplaceAll(p.Message, "\n", " ")
	// The parser names the line it gave up at, which may be the one after.
	for line := max(p.Line-1, 1); line <= min(p.Line+1, len(s.lines)); line++ {
		text := s.lines[line-1]
		indent := text[:len(text)-len(strings.TrimLeft(text, " \t"))]
		if tab := strings.IndexByte(indent, '\t'); tab >= 0 && indent != text {
			return &Problem{Line: line, Column: tab + 1, Message: "is indented with a tab; YAML wants spaces"}
		}
	}
	return p
}

// place is a position in the file; zero is "not in the file".
type place struct{ line, column int }

func placeOf(n *yaml.Node) place { return place{n.Line, n.Column} }

// places knows where the value of each field path stands.
type places map[string]place

// find returns the place of the field, or else of the nearest section around
// it that is there, or else the beginning of the file.
func (p places) find(path string) place {
	for path != "" {
		if at, ok := p[path]; ok {
			return at
		}
		path = parent(path)
	}
	return place{1, 1}
}

// parent returns the path of the section or list around a field.
func parent(path string) string { return path[:max(strings.LastIndexAny(path, ".["), 0)] }
