package cloudmersive

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestEndpoint(t *testing.T) {
	for _, c := range []struct {
		url      string
		advanced *Advanced
		want     string
	}{
		{"", nil, "https://api.cloudmersive.com/virus/scan/file"},
		{"", &Advanced{}, "https://api.cloudmersive.com/virus/scan/file/advanced"},
		{"http://scan.example:8080", nil, "http://scan.example:8080/virus/scan/file"},
		{"https://example.net/a/b/", nil, "https://example.net/a/b/virus/scan/file"},
		{"https://[::1]:1", nil, "https://[::1]:1/virus/scan/file"},
	} {
		e := newEngine(t, Config{URL: c.url, Advanced: c.advanced})
		if e.endpoint != c.want {
			t.Errorf("%q: got %q, want %q", c.url, e.endpoint, c.want)
		}
	}
}

func TestURLsRefused(t *testing.T) {
	for _, url := range []string{
		"api.cloudmersive.com", "ftp://a", "https://", "https://:443", "https://user:secret@a", "https://a?x=secret", "https://a?",
		"https://a#secret", "https://user:secret@a\x7f", "//a", "https:a",
	} {
		_, err := New(Config{URL: url, APIKeyFile: keyFile(t, "k")})
		if err == nil {
			t.Errorf("%q was taken", url)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: the error repeats it: %v", url, err)
		}
	}
}

// One error names every wrong setting.
func TestNewReportsAllAtOnce(t *testing.T) {
	_, err := New(Config{
		URL:      "ftp://a",
		Timeout:  -time.Second,
		CAFile:   filepath.Join(t.TempDir(), "none"),
		Advanced: &Advanced{RestrictFileTypes: []string{"pdf"}},
	})
	if err == nil {
		t.Fatal("no error")
	}
	for _, setting := range []string{"url:", "timeout:", "ca file:", "api key file:", "restrict file types:"} {
		if !strings.Contains(err.Error(), setting) {
			t.Errorf("%q is missing in:\n%v", setting, err)
		}
	}
}

func TestCAFileWithoutCertificate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, []byte("none"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Config{APIKeyFile: keyFile(t, "k"), CAFile: path}); err == nil {
		t.Error("a CA file without a certificate was taken")
	}
}

func TestDefaultTimeout(t *testing.T) {
	if e := newEngine(t, Config{}); e.timeout != time.Minute {
		t.Errorf("got %v", e.timeout)
	}
}
