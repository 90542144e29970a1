package app_test

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// explained is a mail with a zip that holds the test virus, an innocent file and
// one whose name is meant for a terminal.
func explained(t *testing.T) string {
	t.Helper()
	var archive bytes.Buffer
	w := zip.NewWriter(&archive)
	for _, m := range []struct{ name, content string }{
		{"readme.txt", "nothing to see here\n"},
		{"eicar.com", `X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD` + `-ANTIVIRUS-TEST-FILE!$H+H*`},
		{"\x1b[31mred.txt", "red\n"},
	} {
		f, err := w.CreateHeader(&zip.FileHeader{Name: m.name})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte(m.content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	mail := "From: a@example.net\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nsee the attachment\r\n" +
		"--b\r\nContent-Type: application/zip\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=\"a.zip\"\r\n\r\n" +
		inLines(base64.StdEncoding.EncodeToString(archive.Bytes())) + "--b--\r\n"
	path := filepath.Join(t.TempDir(), "mail.eml")
	if err := os.WriteFile(path, []byte(mail), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func inLines(s string) string {
	var b strings.Builder
	for len(s) > 76 {
		b.WriteString(s[:76] + "\r\n")
		s = s[76:]
	}
	return b.String() + s + "\r\n"
}

// --explain draws every object with what is known about it; foreign text in it is
// escaped.
func TestExplain(t *testing.T) {
	path := explained(t)
	code, stdout, stderr := run(t, "scan", "--explain", path)
	if code != 1 || stderr != "" {
		t.Errorf("exit %d, %q", code, stderr)
	}
	golden(t, filepath.Join("testdata", "explain.txt"), strings.ReplaceAll(stdout, path, "mail.eml"))
	if strings.Contains(stdout, "\x1b") {
		t.Error("a file name reaches the terminal unescaped")
	}
}

// The same in JSON is for programs, and only where it was asked for.
func TestExplainJSON(t *testing.T) {
	path := explained(t)
	for _, explain := range []bool{true, false} {
		args := []string{"scan", "--json", path}
		if explain {
			args = append(args, "--explain")
		}
		_, stdout, _ := run(t, args...)
		var got struct {
			Objects int
			Tree    []struct{ Path, Type, SHA256, Outcome, Name string }
		}
		if err := json.Unmarshal([]byte(stdout), &got); err != nil {
			t.Fatalf("%v: %s", err, stdout)
		}
		want := 0
		if explain {
			want = got.Objects
		}
		if len(got.Tree) != want || got.Objects < 6 {
			t.Errorf("explain %v: %d of %d objects: %s", explain, len(got.Tree), got.Objects, stdout)
		}
	}
}
