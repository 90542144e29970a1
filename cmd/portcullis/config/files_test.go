package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/portcullis-av/portcullis/cmd/portcullis/config"
)

// Load tells at once of every file that cannot be used, and where it is named.
func TestLoadChecksFiles(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	write(t, "ca.pem", "x")
	write(t, "empty.key", "")
	if err := syscall.Mkfifo("fifo.hsb", 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir("list.d", 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, "portcullis.yaml", `listen:
  tls: {cert_file: missing.crt, key_file: empty.key, client_ca_file: ca.pem}
engines:
  - {name: builtin, builtin: {hash_lists: [fifo.hsb, list.d, ca.pem]}}
  - {name: cloud, cloudmersive: {api_key_file: empty.key, ca_file: "ca.pem/none"}}
  - {name: icap, icap: {url: "icaps://h/s", ca_file: none, headers: [{name: X-A, value: b}, {name: X-Key, value_file: empty.key}]}}
  - {name: far, remote: {address: "h:1", tls: {ca_file: none, cert_file: ca.pem, key_file: empty.key}}}
spool: {disk_dir: ca.pem}
cache: {redis: {address: "redis:1", password_file: none, hmac_key_file: empty.key, tls: {ca_file: list.d}}}
`)
	_, err := config.Load("portcullis.yaml")
	want := `portcullis.yaml:2:20: listen.tls.cert_file: cannot be read: no such file or directory
portcullis.yaml:2:43: listen.tls.key_file: is an empty file
portcullis.yaml:4:44: engines[0].builtin.hash_lists[0]: is not a regular file
portcullis.yaml:4:54: engines[0].builtin.hash_lists[1]: is not a regular file
portcullis.yaml:5:48: engines[1].cloudmersive.api_key_file: is an empty file
portcullis.yaml:5:68: engines[1].cloudmersive.ca_file: cannot be read: not a directory
portcullis.yaml:6:54: engines[2].icap.ca_file: cannot be read: no such file or directory
portcullis.yaml:6:119: engines[2].icap.headers[1].value_file: is an empty file
portcullis.yaml:7:57: engines[3].remote.tls.ca_file: cannot be read: no such file or directory
portcullis.yaml:7:92: engines[3].remote.tls.key_file: is an empty file
portcullis.yaml:8:19: spool.disk_dir: is not a directory
portcullis.yaml:9:52: cache.redis.password_file: cannot be read: no such file or directory
portcullis.yaml:9:73: cache.redis.hmac_key_file: is an empty file
portcullis.yaml:9:99: cache.redis.tls.ca_file: is not a regular file`
	if err == nil {
		t.Fatal("the file was taken")
	}
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Error(diff)
	}
}

func TestLoad(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "key", "secret-key")
	write(t, "portcullis.yaml", `
engines: [{name: cloud, cloudmersive: {api_key_file: key}}]
spool: {disk_dir: .}
`)
	c, err := config.Load("portcullis.yaml")
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.Redacted()
	if err != nil || strings.Contains(string(out), "secret-key") {
		t.Errorf("Redacted = %s, %v", out, err)
	}
}

// Without a disk its directory is of no interest.
func TestLoadWithoutDisk(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "portcullis.yaml", "spool: {disk_dir: missing, disk_bytes: 0}")
	if _, err := config.Load("portcullis.yaml"); err != nil {
		t.Error(err)
	}
	write(t, "portcullis.yaml", "spool: {disk_dir: missing}")
	if _, err := config.Load("portcullis.yaml"); err == nil {
		t.Error("a directory that is missing was taken")
	}
}

func TestLoadMissing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none.yaml")
	_, err := config.Load(path)
	var e *config.Error
	if !errors.As(err, &e) {
		t.Fatalf("error = %v, want a *config.Error", err)
	}
	if want := path + ": cannot be read: no such file or directory"; e.Error() != want {
		t.Errorf("error = %q, want %q", e, want)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
