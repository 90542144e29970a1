package cloudmersive

import "strings"

// maxFileName is in bytes, as sent.
const maxFileName = 255

// safeFileName makes a name fit to stand in a header line and in a quoted
// multipart parameter, and useless as a path: control characters are dropped;
// quotes, slashes, backslashes, percent signs and all that is not ASCII are
// percent-encoded (so decoding gives the name back); the length is capped by
// shortening what comes before the extension. A name that then is empty, "."
// or ".." is no name: the result is "".
func safeFileName(name string) string {
	out := strings.TrimRight(joinCapped(encodeName(name)), " ")
	if strings.Trim(out, ". ") == "" {
		return ""
	}
	return out
}

// encodeName returns one element for each byte kept, so that a cut never splits
// an encoded one; leading spaces are not kept. It looks at no more of the name than can matter: the head,
// and the tail with the extension.
func encodeName(name string) []string {
	const hex = "0123456789ABCDEF"
	if len(name) > 4*maxFileName {
		name = name[:2*maxFileName] + name[len(name)-2*maxFileName:]
	}
	atoms := make([]string, 0, len(name))
	for i := range len(name) {
		switch c := name[i]; {
		case c < ' ' || c == 0x7f || c == ' ' && len(atoms) == 0:
		case c > '~' || strings.IndexByte(`"\/%`, c) >= 0:
			atoms = append(atoms, string([]byte{'%', hex[c>>4], hex[c&15]}))
		default:
			atoms = append(atoms, string(rune(c)))
		}
	}
	return atoms
}

// joinCapped keeps an extension of up to 32 bytes, because it says what the
// file claims to be.
func joinCapped(atoms []string) string {
	whole := strings.Join(atoms, "")
	if len(whole) <= maxFileName {
		return whole
	}
	ext := ""
	if dot := strings.LastIndexByte(whole, '.'); dot >= 0 && len(whole)-dot <= 32 {
		ext = whole[dot:]
	}
	var b strings.Builder
	for _, a := range atoms {
		if b.Len()+len(a)+len(ext) > maxFileName {
			break
		}
		b.WriteString(a)
	}
	return b.String() + ext
}
