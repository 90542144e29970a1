package config_test

import (
	"errors"
	"os"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/portcullis-av/portcullis/cmd/portcullis/config"
)

// Whatever the file holds, Parse either takes it, and what it took can be
// written out and read again, or says why in sane lines.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/good/*.yaml", "testdata/bad/*.yaml"} {
		for _, path := range files(f, pattern) {
			data, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := config.Parse("f", data)
		if err != nil {
			checkError(t, err, strings.Count(string(data), "\n")+1)
			return
		}
		out, err := c.Redacted()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(out), "***@") {
			return
		}
		again, err := config.Parse("again", out)
		if err != nil {
			t.Fatalf("written out it is refused: %v\n%s", err, out)
		}
		if diff := cmp.Diff(c.Message(), again.Message(), protocmp.Transform()); diff != "" {
			t.Errorf("written out it is different (-first +again):\n%s", diff)
		}
	})
}

func checkError(t *testing.T, err error, lines int) {
	var e *config.Error
	if !errors.As(err, &e) || len(e.Problems) == 0 {
		t.Fatalf("error = %v (%T)", err, err)
	}
	for _, p := range e.Problems {
		if p.Message == "" || p.Line < 0 || p.Line > lines+1 || p.Column < 0 {
			t.Errorf("odd problem %+v in %d lines", p, lines)
		}
		if strings.ContainsFunc(p.Path+p.Message, unicode.IsControl) {
			t.Errorf("a control character in %+v", p)
		}
	}
	if !strings.HasSuffix(e.Explain(), "\n") {
		t.Errorf("Explain ends without a newline: %q", e.Explain())
	}
}
