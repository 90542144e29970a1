package app_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// taken is a port on which somebody listens already.
func taken(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

// Without both of its ports the gate does not start, and says which is missing.
func TestPortTaken(t *testing.T) {
	port := taken(t)
	for field, config := range map[string]string{
		"listen.extproc": "listen: {extproc: \"" + port + "\", admin: \"127.0.0.1:0\"}\n",
		"listen.admin":   "listen: {extproc: \"127.0.0.1:0\", admin: \"" + port + "\"}\n",
	} {
		r := serve(t, config)
		if log := r.log.String(); r.code != 2 || !strings.Contains(log, field+": ") || !strings.Contains(log, "address already in use") {
			t.Errorf("exit %d, %s", r.code, log)
		}
	}
}

// short is a folder whose path leaves room for a socket's name.
func short(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "p") //nolint:usetesting // a test's folder has the test's name in its path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func onSocket(path string) string {
	return "listen: {extproc: \"unix:" + path + "\", admin: \"127.0.0.1:0\"}\n"
}

// What a killed gate left is replaced; the new socket is for owner and group,
// and gone when the gate ends.
func TestStaleSocketIsReplaced(t *testing.T) {
	path := filepath.Join(short(t), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	r := started(t, onSocket(path))
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("the socket's mode is %v, %v", info.Mode(), err)
	}
	if res, err := scanContent(t.Context(), r.dial(nil), eicar()); err != nil || res.GetCause() != "malware" {
		t.Errorf("over the socket: %v, %v", res, err)
	}
	r.stop()
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the socket is left behind: %v", err)
	}
}

// Nobody's socket is taken away, and no file is ever removed.
func TestSocketThatIsNotOurs(t *testing.T) {
	path := filepath.Join(short(t), "s")
	first := started(t, onSocket(path))
	second := serve(t, onSocket(path))
	if log := second.log.String(); second.code != 2 || !strings.Contains(log, "something listens on "+path) {
		t.Errorf("exit %d, %s", second.code, log)
	}
	if _, err := scanContent(t.Context(), first.dial(nil), []byte("hello")); err != nil {
		t.Errorf("the first gate lost its socket: %v", err)
	}

	file := filepath.Join(short(t), "f")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := serve(t, onSocket(file))
	if log := r.log.String(); r.code != 2 || !strings.Contains(log, "is no socket") {
		t.Errorf("exit %d, %s", r.code, log)
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "precious" {
		t.Errorf("the file is now %q, %v", text, err)
	}
}
