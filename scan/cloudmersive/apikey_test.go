package cloudmersive

import (
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/cloudmersive/cloudmersivetest"
	"github.com/portcullis-av/portcullis/scan/scantest"
)

func TestKeyFileIsTrimmed(t *testing.T) {
	k, err := newAPIKey(keyFile(t, " \tabc-123\r\n\n"))
	if err != nil || k.current() != "abc-123" {
		t.Errorf("got %q, %v", k.current(), err)
	}
}

func TestKeyFilesRefused(t *testing.T) {
	for name, content := range map[string]string{
		"empty": "", "blank": " \r\n\t ", "two lines": "hush1\nhush2", "space inside": "hush hush", "NUL": "hush\x00hush",
		"not ASCII": "hüsh-hush", "huge": strings.Repeat("hush", maxKeyFile),
	} {
		_, err := New(Config{APIKeyFile: keyFile(t, content)})
		if err == nil {
			t.Errorf("%s: was taken", name)
		} else if strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: the error repeats it: %v", name, err)
		}
	}
	for _, path := range []string{"", t.TempDir(), t.TempDir() + "/none"} {
		if _, err := New(Config{APIKeyFile: path}); err == nil {
			t.Errorf("%q: was taken", path)
		}
	}
}

// A changed key is used within seconds; what is no key changes nothing.
func TestKeyIsReadAgain(t *testing.T) {
	path := keyFile(t, "first")
	write := func(content string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		k, err := newAPIKey(path)
		if err != nil {
			t.Fatal(err)
		}
		want := func(key string) {
			t.Helper()
			if got := k.current(); got != key {
				t.Errorf("got %q, want %q", got, key)
			}
		}
		write("second")
		want("first")
		time.Sleep(keyRecheck)
		want("second")
		write("")
		time.Sleep(keyRecheck)
		want("second")
		if err := k.refused(); err == nil {
			t.Error("the empty file is no problem")
		}
		write("third")
		want("second")
		if err := k.refused(); err != nil {
			t.Error(err)
		}
		want("third")
	})
}

// A key that was replaced after it expired is used by the scan after the
// refusal, and a broken key file is named in the refusal.
func TestRefusedKeyIsReadAtOnce(t *testing.T) {
	s := newServer(t)
	path := keyFile(t, "expired")
	e := newEngine(t, Config{URL: s.URL(), APIKeyFile: path})
	o := scantest.Object([]byte("text"))

	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := e.Scan(t.Context(), o)
	wantKind(t, err, scan.KindRefused)
	if err == nil || !strings.Contains(err.Error(), "is empty") {
		t.Errorf("error %v does not name the key file's problem", err)
	}
	if err := os.WriteFile(path, []byte(cloudmersivetest.DefaultKey), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = e.Scan(t.Context(), o)
	wantKind(t, err, scan.KindRefused)
	if v, err := e.Scan(t.Context(), o); err != nil || v.Outcome != scan.OutcomeClean {
		t.Errorf("%+v, %v; want CLEAN with the new key", v, err)
	}
}
