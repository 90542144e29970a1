package clamdtest

import (
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// RealOptions are the settings of a real clamd; the zero value is usable.
type RealOptions struct {
	// StreamMaxLength, MaxFileSize and MaxScanSize in bytes; 0 means 20, 32
	// and 64 MiB.
	StreamMaxLength, MaxFileSize, MaxScanSize int64
	// IgnoreLimits is AlertExceedsMax no.
	IgnoreLimits bool
	// IgnoreEncrypted is AlertEncrypted no.
	IgnoreEncrypted bool
	// MaxThreads is the number of concurrent scans; 0 means clamd's default.
	MaxThreads int
	// ReadTimeout in whole seconds; 0 means clamd's default.
	ReadTimeout time.Duration
	// Conf are more lines of clamd.conf.
	Conf []string
	// NDB are more lines of the signature database, in ClamAV's .ndb form.
	NDB []string
	// HDB are lines of a database of digests: MD5:size:name.
	HDB []string
}

// Real is a running clamd.
type Real struct {
	dir, tcp string
	command  *exec.Cmd
	exited   chan struct{}
}

const (
	startLimit = 30 * time.Second
	stopLimit  = 5 * time.Second
)

// StartReal runs the installed clamd, which detects [EICAR] and [Marker], until
// the test ends. It listens on a unix socket and on a TCP port of 127.0.0.1, and
// answers when StartReal returns. Without clamd the test is skipped, or fails
// when CI=true. Its log is shown when the test fails.
func StartReal(tb testing.TB, o RealOptions) *Real {
	tb.Helper()
	program, err := find("clamd")
	if err != nil {
		reason := "no clamd on this machine (Debian: clamav-daemon): " + err.Error()
		if os.Getenv("CI") == "true" {
			tb.Fatal(reason)
		}
		tb.Skip(reason)
	}
	// The free port found for TCP may be taken by another before clamd has it.
	for try := 0; ; try++ {
		r, err := start(tb, program, o)
		if err == nil {
			return r
		}
		if try == 2 {
			tb.Fatalf("start clamd: %v", err)
		}
	}
}

func find(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err == nil {
		return path, nil
	}
	if path, sbinErr := exec.LookPath(filepath.Join("/usr/sbin", name)); sbinErr == nil {
		return path, nil
	}
	return "", err
}

func start(tb testing.TB, program string, o RealOptions) (*Real, error) {
	tb.Helper()
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	r := &Real{dir: shortDir(tb), tcp: fmt.Sprintf("127.0.0.1:%d", port), exited: make(chan struct{})}
	conf, err := r.writeFiles(port, o)
	if err != nil {
		return nil, err
	}
	log, err := os.Create(r.logFile())
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()                       // the child has its own copy
	r.command = exec.Command(program, "--config-file="+conf) //nolint:gosec,noctx // the installed clamd
	r.command.Stdout, r.command.Stderr = log, log
	if err := r.command.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = r.command.Wait()
		close(r.exited)
	}()
	if err := r.awaitReady(); err != nil {
		r.Stop()
		return nil, fmt.Errorf("%w; its log:\n%s", err, r.Log())
	}
	tb.Cleanup(func() {
		r.Stop()
		if tb.Failed() {
			tb.Logf("log of clamd:\n%s", r.Log())
		}
	})
	return r, nil
}

func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // closed at once
	if err != nil {
		return 0, err
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().(*net.TCPAddr).Port, nil
}

// writeFiles writes database and configuration and returns the latter's path.
func (r *Real) writeFiles(port int, o RealOptions) (string, error) {
	database, spool := filepath.Join(r.dir, "db"), filepath.Join(r.dir, "spool")
	for _, dir := range []string{database, spool} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return "", err
		}
	}
	if err := os.WriteFile(filepath.Join(database, "t.ndb"), []byte(o.database()), 0o600); err != nil {
		return "", err
	}
	if len(o.HDB) > 0 {
		if err := os.WriteFile(filepath.Join(database, "t.hdb"), []byte(strings.Join(o.HDB, "\n")+"\n"), 0o600); err != nil {
			return "", err
		}
	}
	lines := append([]string{
		"Foreground yes",
		"DatabaseDirectory " + database,
		"TemporaryDirectory " + spool,
		"LocalSocket " + r.socket(),
		"LocalSocketMode 600",
		"FixStaleSocket yes",
		fmt.Sprintf("TCPSocket %d", port),
		"TCPAddr 127.0.0.1",
		"ConcurrentDatabaseReload yes",
		"SelfCheck 0",
		"LogTime yes",
	}, o.lines()...)
	conf := filepath.Join(r.dir, "clamd.conf")
	return conf, os.WriteFile(conf, []byte(strings.Join(lines, "\n")+"\n"), 0o600)
}

// database has the form Name:Target:Offset:Hex.
func (o RealOptions) database() string {
	lines := append([]string{
		"Test.Eicar:0:0:" + hex.EncodeToString(EICAR()),
		"Test.Marker:0:*:" + hex.EncodeToString(Marker()),
	}, o.NDB...)
	return strings.Join(lines, "\n") + "\n"
}

func (o RealOptions) lines() []string {
	orDefault := func(n, mib int64) int64 {
		if n == 0 {
			return mib << 20
		}
		return n
	}
	yes := func(b bool) string {
		if b {
			return "yes"
		}
		return "no"
	}
	lines := []string{
		fmt.Sprintf("StreamMaxLength %d", orDefault(o.StreamMaxLength, 20)),
		fmt.Sprintf("MaxFileSize %d", orDefault(o.MaxFileSize, 32)),
		fmt.Sprintf("MaxScanSize %d", orDefault(o.MaxScanSize, 64)),
		"AlertExceedsMax " + yes(!o.IgnoreLimits),
		"AlertEncrypted " + yes(!o.IgnoreEncrypted),
	}
	if o.MaxThreads > 0 {
		lines = append(lines, fmt.Sprintf("MaxThreads %d", o.MaxThreads))
	}
	if o.ReadTimeout > 0 {
		lines = append(lines, fmt.Sprintf("ReadTimeout %d", int(o.ReadTimeout.Seconds())))
	}
	return append(lines, o.Conf...)
}

// awaitReady waits until PING is answered on both sockets.
func (r *Real) awaitReady() error {
	deadline := time.Now().Add(startLimit)
	for time.Now().Before(deadline) {
		select {
		case <-r.exited:
			return fmt.Errorf("clamd exited: %v", r.command.ProcessState)
		case <-time.After(20 * time.Millisecond):
		}
		if answersPing("unix", r.socket()) && answersPing("tcp", r.tcp) {
			return nil
		}
	}
	return fmt.Errorf("clamd not ready after %v", startLimit)
}

func answersPing(network, address string) bool {
	conn, err := net.DialTimeout(network, address, time.Second)
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(stopLimit))
	if _, err := conn.Write([]byte("zPING\x00")); err != nil {
		return false
	}
	answer := make([]byte, 5)
	_, err = io.ReadFull(conn, answer)
	return err == nil && string(answer) == "PONG\x00"
}

func (r *Real) socket() string  { return filepath.Join(r.dir, "clamd.sock") }
func (r *Real) logFile() string { return filepath.Join(r.dir, "clamd.log") }

// Unix is the address of the unix socket, "unix:/path".
func (r *Real) Unix() string { return "unix:" + r.socket() }

// TCP is the address of the TCP socket, "127.0.0.1:port".
func (r *Real) TCP() string { return r.tcp }

// Pid is the daemon's process, for tests that kill or stop it.
func (r *Real) Pid() int { return r.command.Process.Pid }

// Signal sends the daemon a signal; one that has ended already ignores it.
func (r *Real) Signal(s syscall.Signal) { _ = r.command.Process.Signal(s) }

// Log is what the daemon has written so far.
func (r *Real) Log() string {
	log, err := os.ReadFile(r.logFile())
	if err != nil {
		return err.Error()
	}
	return string(log)
}

// Stop ends the daemon, stopped or not, and waits for its end. Stopping twice
// is fine.
func (r *Real) Stop() {
	r.Signal(syscall.SIGCONT)
	r.Signal(syscall.SIGTERM)
	select {
	case <-r.exited:
	case <-time.After(stopLimit):
		r.Signal(syscall.SIGKILL)
		<-r.exited
	}
}
