package extproctest

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
)

// EICAR returns the industry's harmless test file, put together from two halves
// so that no scanner objects to this source.
func EICAR() []byte {
	return []byte(`X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD` + `-ANTIVIRUS-TEST-FILE!$H+H*`)
}

// Random returns size bytes that depend on seed only.
func Random(size int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // reproducible test data
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// Content returns the bytes that a content word of a conversation file stands
// for; see the package comment.
func Content(word string) ([]byte, error) {
	var out []byte
	for _, term := range splitTerms(word) {
		b, err := contentTerm(term)
		if err != nil {
			return nil, err
		}
		out = append(out, b...)
	}
	return out, nil
}

func contentTerm(term string) ([]byte, error) {
	kind, rest, _ := strings.Cut(term, ":")
	switch {
	case strings.HasPrefix(term, `"`):
		s, err := strconv.Unquote(term)
		if err != nil {
			return nil, fmt.Errorf("content %s is not a quoted string", term)
		}
		return []byte(s), nil
	case term == "$eicar":
		return EICAR(), nil
	case kind == "zeros":
		n, err := parseSize(rest)
		return make([]byte, n), err
	case kind == "random":
		size, seed, _ := strings.Cut(rest, ":")
		n, err := parseSize(size)
		if err != nil {
			return nil, err
		}
		s, err := strconv.ParseUint(seed, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("content %s needs a seed: random:SIZE:SEED", term)
		}
		return Random(n, s), nil
	}
	return nil, fmt.Errorf("content %q is none of \"text\", $eicar, zeros:SIZE, random:SIZE:SEED", term)
}

// parseSize reads 10240, 10KiB or 8MiB.
func parseSize(s string) (int, error) {
	unit := 1
	for suffix, n := range map[string]int{"KiB": 1 << 10, "MiB": 1 << 20} {
		if rest, ok := strings.CutSuffix(s, suffix); ok {
			s, unit = rest, n
		}
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%q is not a size", s)
	}
	return n * unit, nil
}

// splitWords cuts a line at blanks outside of double quotes.
func splitWords(line string) []string { return splitQuoted(line, ' ') }

// splitTerms cuts a content word at plus signs outside of double quotes.
func splitTerms(word string) []string { return splitQuoted(word, '+') }

func splitQuoted(s string, sep byte) []string {
	var out []string
	start, quoted := 0, false
	for i := 0; i <= len(s); i++ {
		switch {
		case i == len(s) || (s[i] == sep && !quoted):
			if i > start {
				out = append(out, s[start:i])
			}
			start = i + 1
		case s[i] == '\\' && quoted && i+1 < len(s):
			i++
		case s[i] == '"':
			quoted = !quoted
		}
	}
	return out
}

// keyValue reads key=value or key="quoted value".
func keyValue(word string) (Header, bool) {
	key, value, ok := strings.Cut(word, "=")
	if !ok || key == "" || strings.Contains(key, `"`) {
		return Header{}, false
	}
	if strings.HasPrefix(value, `"`) {
		unquoted, err := strconv.Unquote(value)
		if err != nil {
			return Header{}, false
		}
		value = unquoted
	}
	return Header{key, value}, true
}
