package cloudmersive

import (
	"net/url"
	"strings"
	"testing"
)

func TestSafeFileName(t *testing.T) {
	long := strings.Repeat("x", 400)
	for name, want := range map[string]string{
		"":                        "",
		"a b.pdf":                 "a b.pdf",
		"  a.pdf ":                "a.pdf",
		"a\r\nApikey: x\x00.pdf":  "aApikey: x.pdf",
		`a"; filename="b.exe`:     "a%22; filename=%22b.exe",
		`..\..\a`:                 "..%5C..%5Ca",
		"../../etc/passwd":        "..%2F..%2Fetc%2Fpasswd",
		"50%.txt":                 "50%25.txt",
		"ü.txt":                   "%C3%BC.txt",
		"\u202efdp.exe":           "%E2%80%AEfdp.exe",
		"\xff":                    "%FF",
		".":                       "",
		"..":                      "",
		"\r\n":                    "",
		".htaccess":               ".htaccess",
		long + ".pdf":             long[:maxFileName-4] + ".pdf",
		long:                      long[:maxFileName],
		strings.Repeat("é", 200):  strings.Repeat("%C3%A9", 42) + "%C3",
		strings.Repeat("z", 5000): long2('z'),
	} {
		if got := safeFileName(name); got != want {
			t.Errorf("%.60q: got %q, want %q", name, got, want)
		}
	}
}

func long2(c byte) string { return strings.Repeat(string(rune(c)), maxFileName) }

// Whatever the sender calls a file, the result is safe in a header and in a
// quoted parameter, is no path, and decodes to what was meant.
func FuzzFileName(f *testing.F) {
	for _, s := range []string{"", "a.pdf", "a\r\nb: c", "\x00", "ü", "..", `"\`, " / ", strings.Repeat("%", 300), strings.Repeat("é", 200) + ".p"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		got := safeFileName(name)
		if len(got) > 255 {
			t.Fatalf("%d bytes", len(got))
		}
		for i := range len(got) {
			if c := got[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '/' {
				t.Fatalf("%q holds %q", got, c)
			}
		}
		if got != strings.TrimSpace(got) || got == "." || got == ".." {
			t.Fatalf("%q is no name", got)
		}
		plain, err := url.PathUnescape(got)
		if err != nil {
			t.Fatalf("%q: %v", got, err)
		}
		if len(name) <= 85 && got != "" { // short enough not to be cut
			if want := strings.Trim(dropControls(name), " "); plain != want {
				t.Fatalf("%q decodes to %q, want %q", got, plain, want)
			}
		}
	})
}

func dropControls(s string) string {
	var b []byte
	for i := range len(s) {
		if s[i] >= ' ' && s[i] != 0x7f {
			b = append(b, s[i])
		}
	}
	return string(b)
}
