package icap

import (
	"fmt"
	"os"
	"strings"

	"github.com/portcullis-av/portcullis/scan"
)

// Header is one header field of the ICAP request, such as X-Client-IP or an
// appliance's key.
type Header struct {
	Name string
	// Value is sent as it is: printable ASCII.
	Value string
	// File, when not empty, holds the value, for secrets. It is read again for
	// every request, so it may change at any time; space around is taken off.
	File string
}

const maxHeaderValue = 4 << 10

// extraHeader is a checked [Header].
type extraHeader struct{ Header }

func newExtraHeader(h Header) (extraHeader, error) {
	own := extraHeader{h}
	switch {
	case !isToken(h.Name):
		return own, fmt.Errorf("icap header name %q: want letters, digits and -", h.Name)
	case isOurs(h.Name):
		return own, fmt.Errorf("icap header %s: belongs to the protocol", h.Name)
	case h.File != "" && h.Value != "":
		return own, fmt.Errorf("icap header %s: has a value and a file", h.Name)
	case h.File == "" && !isValue(h.Value):
		return own, fmt.Errorf("icap header %s: the value must be 1 to %d printable ASCII characters", h.Name, maxHeaderValue)
	}
	_, err := own.value()
	return own, err
}

// value returns what to send. The error never holds the value.
func (h extraHeader) value() (string, error) {
	if h.File == "" {
		return h.Value, nil
	}
	raw, err := os.ReadFile(h.File)
	if err != nil {
		return "", &scan.Error{Kind: scan.KindRefused, Op: "read the value of icap header " + h.Name, Err: err}
	}
	value := strings.TrimSpace(string(raw))
	if !isValue(value) {
		err := fmt.Errorf("%s must hold 1 to %d printable ASCII characters on one line", h.File, maxHeaderValue)
		return "", &scan.Error{Kind: scan.KindRefused, Op: "read the value of icap header " + h.Name, Err: err}
	}
	return value, nil
}

// isOurs names the fields that frame messages, and those that would change what
// an answer means.
func isOurs(name string) bool {
	switch strings.ToLower(name) {
	case "host", "allow", "preview", "encapsulated", "connection", "transfer-encoding", "te", "trailer",
		"upgrade", "content-length", "keep-alive":
		return true
	}
	return false
}

func isToken(s string) bool {
	return s != "" && len(s) <= 128 && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-'
	})
}

func isValue(s string) bool {
	return s != "" && len(s) <= maxHeaderValue &&
		!strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}
