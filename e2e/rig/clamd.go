package rig

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// ErrNoClamd means that clamd is not installed; e2e/install fetches it.
var ErrNoClamd = errors.New("no clamd: install Debian's clamav-daemon, or run e2e/install")

// FindClamd returns the path of clamd on PATH or in /usr/sbin, which a plain
// user's PATH often lacks. The error is [ErrNoClamd].
func FindClamd() (string, error) {
	for _, name := range []string{"clamd", "/usr/sbin/clamd"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", ErrNoClamd
}

// Clamd is a running ClamAV daemon with one signature, on a private socket.
type Clamd struct {
	*Process
	// Address is "unix:/path".
	Address string
}

// StartClamd returns once the daemon answers PING. It calls what begins with
// signature infected, takes streams to 200 MiB and scans with as many threads
// as asked. dir must be an existing private folder whose path is short enough
// for a socket (about 90 bytes). The caller ends it with Kill or Stop.
func StartClamd(binary, dir string, signature []byte, threads int) (*Clamd, error) {
	for _, sub := range []string{"db", "spool"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			return nil, err
		}
	}
	database := "Rig.Signature:0:0:" + hex.EncodeToString(signature) + "\n"
	if err := os.WriteFile(filepath.Join(dir, "db", "rig.ndb"), []byte(database), 0o600); err != nil {
		return nil, err
	}
	socket := filepath.Join(dir, "clamd.sock")
	conf := filepath.Join(dir, "clamd.conf")
	lines := []string{
		"Foreground yes",
		"DatabaseDirectory " + filepath.Join(dir, "db"),
		"TemporaryDirectory " + filepath.Join(dir, "spool"),
		"LocalSocket " + socket,
		"LocalSocketMode 600",
		"StreamMaxLength 200M",
		"MaxFileSize 200M",
		"MaxScanSize 400M",
		"AlertExceedsMax yes",
		"AlertEncrypted yes",
		"SelfCheck 0",
		fmt.Sprintf("MaxThreads %d", threads),
	}
	if err := os.WriteFile(conf, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		return nil, err
	}
	p, err := Spawn(dir, "clamd", binary, "--config-file="+conf)
	if err != nil {
		return nil, err
	}
	if err := p.waitUntil(startTimeout, func() error { return ping(socket) }); err != nil {
		p.Kill()
		return nil, err
	}
	return &Clamd{Process: p, Address: "unix:" + socket}, nil
}

func ping(socket string) error {
	c, err := net.DialTimeout("unix", socket, time.Second)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }() // nothing was written that could be lost
	if err := c.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	if _, err := io.WriteString(c, "zPING\x00"); err != nil {
		return err
	}
	answer, err := io.ReadAll(c)
	if err == nil && string(answer) != "PONG\x00" {
		err = fmt.Errorf("clamd answers PING with %q", answer)
	}
	return err
}
