package cloudmersive

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/cloudmersive/cloudmersivetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func keyFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// newEngine fills in the key file and closes the engine with the test.
func newEngine(t *testing.T, c Config) *Engine {
	t.Helper()
	if c.APIKeyFile == "" {
		c.APIKeyFile = keyFile(t, cloudmersivetest.DefaultKey+"\n")
	}
	e, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

func newServer(t *testing.T, options ...cloudmersivetest.Option) *cloudmersivetest.Server {
	t.Helper()
	s := cloudmersivetest.New(options...)
	t.Cleanup(s.Close)
	return s
}

// roundTrip is a transport without a network.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func wantKind(t *testing.T, err error, want scan.Kind) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want one of kind %v", want)
		return
	}
	if got := scan.KindOf(err); got != want {
		t.Errorf("error %q is of kind %v, want %v", err, got, want)
	}
}
