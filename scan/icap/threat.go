package icap

import (
	"slices"
	"strings"

	"github.com/portcullis-av/portcullis/scan"
)

const (
	maxThreats    = 16
	maxThreatName = 256
)

// finding is what header fields say of malware.
type finding struct {
	found  bool
	names  []string
	reason string // why it was blocked, in the server's words
}

// look reads the fields by which ICAP servers name what they found; none of
// them is part of RFC 3507. The same fields stand in the ICAP head, in the
// encapsulated head or in both.
func (f *finding) look(all fields) {
	for _, h := range all {
		switch h.name {
		case "x-infection-found":
			f.add(threatOf(h.value()))
		case "x-virus-id":
			f.add(strings.Split(h.value(), ",")...)
		case "x-violations-found":
			if h.lines[0] != "0" {
				f.add(violations(h.lines[1:])...)
			}
		case "x-response-info":
			if strings.HasPrefix(strings.ToLower(h.value()), "blocked") {
				f.add()
			}
		case "x-blocked-reason":
			f.add()
			f.reason = h.value()[:min(len(h.value()), maxThreatName)]
		}
	}
}

func (f *finding) add(names ...string) {
	f.found = true
	for _, name := range names {
		name = strings.TrimSpace(name)
		name = name[:min(len(name), maxThreatName)]
		if name != "" && !slices.Contains(f.names, name) && len(f.names) < maxThreats {
			f.names = append(f.names, name)
		}
	}
}

// verdict names the malware, or the reason if nothing has a name.
func (f *finding) verdict() scan.Verdict {
	names := f.names
	if len(names) == 0 {
		name := f.reason
		if name == "" {
			name = scan.SafeThreat("")
		}
		names = []string{name}
	}
	v := scan.InfectedVerdict(names...)
	v.Detail = f.reason
	return v
}

// threatOf takes the name out of "Type=0; Resolution=2; Threat=name;": it ends
// at the last semicolon, and may hold others.
func threatOf(value string) string {
	const label = "threat="
	i := strings.Index(strings.ToLower(value), label)
	if i < 0 || len(strings.ToLower(value)) != len(value) {
		return ""
	}
	name := value[i+len(label):]
	if end := strings.LastIndexByte(name, ';'); end >= 0 {
		name = name[:end]
	}
	return name
}

// violations takes the names out of the four lines of each violation: file,
// threat, its number, what was done.
func violations(lines []string) []string {
	var names []string
	for i := 1; i < len(lines); i += 4 {
		names = append(names, lines[i])
	}
	return names
}
