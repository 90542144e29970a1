package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/portcullis-av/portcullis/scan/cloudmersive/cloudmersivetest"
)

// startCloud runs a stand-in for the Cloudmersive API until the test ends and
// returns it with the fields of an engine that uses it.
func startCloud(t *testing.T) (*cloudmersivetest.Server, string) {
	t.Helper()
	s := cloudmersivetest.New()
	t.Cleanup(s.Close)
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte(s.Key()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return s, fmt.Sprintf("url: %q, api_key_file: %q", s.URL(), key)
}
