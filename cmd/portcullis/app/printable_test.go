package app

import "testing"

// Foreign text can neither move the cursor nor hide what stands before it, and
// stays readable where it is harmless.
func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		`{"cause":"malware"} C:\x é 漢`: `{"cause":"malware"} C:\x é 漢`,
		"\x1b[2Ja\r\nb\x00":            `\x1b[2Ja\r\nb\x00`,
		"a\xffb":                       `a\xffb`,
		"a\ufffdb":                     "a\ufffdb",
		"a\u202eb":                     `a\u202eb`, // turns the reading direction
		"it's":                         "it's",
	} {
		if got := printable(in); got != want {
			t.Errorf("printable(%q) is %s, want %s", in, got, want)
		}
	}
	if got, want := printableLines("a\x1b\nb"), `a\x1b`+"\nb"; got != want {
		t.Errorf("printableLines is %q, want %q", got, want)
	}
}
