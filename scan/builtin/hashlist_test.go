package builtin

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

func TestMalformedLines(t *testing.T) {
	md5, sha256 := strings.Repeat("ab", 16), strings.Repeat("ab", 32)
	for _, c := range []struct{ line, want string }{
		{"hello", "not hexadecimal"},
		{"hello world", "not hexadecimal"},
		{md5, "without a size"},
		{md5 + "  evil.exe", "without a size"},
		{sha256[1:] + "  evil.exe", "not hexadecimal"},
		{"abcd:1:x", "a digest of 2 bytes"},
		{":1:x", "a digest of 0 bytes"},
		{md5 + ":1", "2 fields"},
		{md5 + ":1:x:73:74:75", "6 fields"},
		{md5 + ":0:x", "neither a positive number"},
		{md5 + ":-1:x", "neither a positive number"},
		{md5 + "::x", "neither a positive number"},
		{md5 + ":12a:x", "neither a positive number"},
		{md5 + ":99999999999999999999:x", "neither a positive number"},
		{md5 + ":1:", "no name"},
		{md5 + ":1:x:y", "no number"},
		{"zz" + md5[2:] + ":1:x", "not hexadecimal"},
		{"\ufeff" + md5 + ":1:x", "not hexadecimal"},
		{strings.Repeat("x", 100_000), "too long"},
	} {
		file := writeList(t, "# fine", md5+":5:Fine", c.line, md5+":6:Fine")
		_, err := New(Config{HashLists: []string{file}})
		if err == nil {
			t.Errorf("%.80q: no error", c.line)
			continue
		}
		for _, want := range []string{fmt.Sprintf("%s:3: ", file), c.want} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%.80q: error %q does not say %q", c.line, err, want)
			}
		}
		if len(err.Error()) > 1000 {
			t.Errorf("%.80q: an error of %d bytes", c.line, len(err.Error()))
		}
	}
}

func TestEveryListIsChecked(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing.hdb")
	bad := writeList(t, strings.Split(strings.Repeat("bad\n", 100), "\n")...)
	_, err := New(Config{HashLists: []string{missing, bad, t.TempDir()}})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{missing, bad + ":1:", bad + ":10:", "is a directory"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error does not say %q:\n%v", want, err)
		}
	}
	if unwanted := bad + ":11:"; strings.Contains(err.Error(), unwanted) {
		t.Errorf("error goes on to %q:\n%v", unwanted, err)
	}
}

func FuzzParseLine(f *testing.F) {
	digest := strings.Repeat("ab", 32)
	for _, line := range []string{digest, digest + "  name", digest + ":*:name:73", digest[:32] + ":544:name", `\` + digest + " *n", ":::", "# c"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		digest, size, name, err := parseLine(line)
		if err != nil {
			return
		}
		if name == "" || size == 0 || size < anySize {
			t.Errorf("%q: digest %x, size %d, name %q", line, digest, size, name)
		}
	})
}
