package icaptest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// RealOptions are the settings of a real c-icap.
type RealOptions struct {
	// ClamdSocket is the path of a running clamd's unix socket. clamd must be up
	// first: a c-icap started before it answers 204 to everything for ever
	// (measured, 0.5.10).
	ClamdSocket string
	// Service is the query of the service's alias; empty means
	// "allow204=on&sizelimit=off&mode=simple".
	Service string
	// MaxObjectSize in MiB; 0 means 20.
	MaxObjectSize int
	// PassOnError lets objects pass that could not be scanned.
	PassOnError bool
	// ScanFileTypes as c-icap names them; empty means nearly all.
	ScanFileTypes string
	// Conf are more lines of c-icap.conf.
	Conf []string
}

// Real is a running c-icap.
type Real struct {
	dir, address string
	command      *exec.Cmd
	exited       chan struct{}
}

const (
	startLimit  = 30 * time.Second
	answerLimit = 5 * time.Second
	// stopLimit is long: it looks for signals and connections once a second.
	stopLimit = 3 * time.Second
)

// StartReal runs the installed c-icap until the test ends, with one service
// "avscan" on a TCP port of 127.0.0.1 that answers when StartReal returns.
// Without c-icap the test is skipped, or fails when CI=true. Its log is shown
// when the test fails.
func StartReal(tb testing.TB, o RealOptions) *Real {
	tb.Helper()
	program, err := exec.LookPath("c-icap")
	modules := modulesDir()
	if err != nil || modules == "" {
		const reason = "no c-icap with virus_scan on this machine (Debian: c-icap, libc-icap-mod-virus-scan)"
		if os.Getenv("CI") == "true" {
			tb.Fatal(reason)
		}
		tb.Skip(reason)
	}
	// The free port found may be taken by another before c-icap has it.
	for try := 0; ; try++ {
		r, err := start(tb, program, modules, o)
		if err == nil {
			return r
		}
		if try == 2 {
			tb.Fatalf("start c-icap: %v", err)
		}
	}
}

// modulesDir is where c-icap's modules are, which depends on the architecture.
func modulesDir() string {
	for _, pattern := range []string{"/usr/lib/*/c_icap/virus_scan.so", "/usr/lib/c_icap/virus_scan.so", "/usr/local/lib/c_icap/virus_scan.so"} {
		if found, _ := filepath.Glob(pattern); len(found) > 0 {
			return filepath.Dir(found[0])
		}
	}
	return ""
}

func start(tb testing.TB, program, modules string, o RealOptions) (*Real, error) {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // closed at once
	if err != nil {
		return nil, err
	}
	r := &Real{dir: tb.TempDir(), address: listener.Addr().String(), exited: make(chan struct{})}
	_ = listener.Close()
	conf, err := r.writeConf(modules, o)
	if err != nil {
		return nil, err
	}
	out, err := os.Create(filepath.Join(r.dir, "out.log"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = out.Close() }()                        // the child has its own copy
	r.command = exec.Command(program, "-N", "-D", "-f", conf) //nolint:gosec,noctx // the installed c-icap
	r.command.Stdout, r.command.Stderr = out, out
	// It forks; signals must reach its children too.
	r.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
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
			tb.Logf("log of c-icap:\n%s", r.Log())
		}
	})
	return r, nil
}

func (r *Real) writeConf(modules string, o RealOptions) (string, error) {
	if err := os.Mkdir(filepath.Join(r.dir, "spool"), 0o700); err != nil {
		return "", err
	}
	if o.Service == "" {
		o.Service = "allow204=on&sizelimit=off&mode=simple"
	}
	if o.MaxObjectSize == 0 {
		o.MaxObjectSize = 20
	}
	if o.ScanFileTypes == "" {
		o.ScanFileTypes = "TEXT DATA EXECUTABLE ARCHIVE GIF JPEG MSOFFICE"
	}
	pass := "off"
	if o.PassOnError {
		pass = "on"
	}
	lines := append([]string{
		"InterProcessSharedMemScheme mmap",
		"PidFile " + r.dir + "/c-icap.pid",
		"CommandsSocket " + r.dir + "/c-icap.ctl",
		"ServerLog " + r.dir + "/server.log",
		"AccessLog " + r.dir + "/access.log",
		"TmpDir " + r.dir + "/spool",
		"Port " + r.address,
		"StartServers 1",
		"MaxServers 2",
		"ThreadsPerChild 10",
		"ServerName test",
		"ServerAdmin test@localhost",
		"ModulesDir " + modules,
		"ServicesDir " + modules,
		"TemplateDir /usr/share/c_icap/templates/",
		"LoadMagicFile /etc/c-icap/c-icap.magic",
		"Service antivirus_module virus_scan.so",
		"ServiceAlias avscan virus_scan?" + o.Service,
		"virus_scan.ScanFileTypes " + o.ScanFileTypes,
		"virus_scan.PassOnError " + pass,
		fmt.Sprintf("virus_scan.MaxObjectSize %dM", o.MaxObjectSize),
		"virus_scan.DefaultEngine clamd",
		"Module common clamd_mod.so",
		"clamd_mod.ClamdSocket " + o.ClamdSocket,
	}, o.Conf...)
	conf := filepath.Join(r.dir, "c-icap.conf")
	return conf, os.WriteFile(conf, []byte(strings.Join(lines, "\n")+"\n"), 0o600)
}

// awaitReady waits until the service answers OPTIONS with 200.
func (r *Real) awaitReady() error {
	for deadline := time.Now().Add(startLimit); time.Now().Before(deadline); {
		select {
		case <-r.exited:
			return fmt.Errorf("c-icap exited: %v", r.command.ProcessState)
		case <-time.After(20 * time.Millisecond):
		}
		if r.answersOptions() {
			return nil
		}
	}
	return fmt.Errorf("c-icap not ready after %v", startLimit)
}

func (r *Real) answersOptions() bool {
	conn, err := net.DialTimeout("tcp", r.address, time.Second)
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(answerLimit))
	if _, err := fmt.Fprintf(conn, "OPTIONS %s ICAP/1.0\r\nHost: %s\r\nConnection: close\r\n\r\n", r.URL(), r.address); err != nil {
		return false
	}
	answer := make([]byte, 1024)
	n, _ := conn.Read(answer)
	return strings.HasPrefix(string(answer[:n]), "ICAP/1.0 200 ")
}

// URL is that of the service.
func (r *Real) URL() string { return "icap://" + r.address + "/avscan" }

// Signal sends a signal to the server and its children; one that has ended
// already ignores it.
func (r *Real) Signal(s syscall.Signal) { _ = syscall.Kill(-r.command.Process.Pid, s) }

// Log is what the server has written so far.
func (r *Real) Log() string {
	var all strings.Builder
	for _, name := range []string{"out.log", "server.log", "access.log"} {
		log, err := os.ReadFile(filepath.Join(r.dir, name))
		if err != nil {
			continue
		}
		fmt.Fprintf(&all, "%s:\n%s\n", name, log)
	}
	return all.String()
}

// Stop ends the server, stopped or not, and waits for its end. Stopping twice is
// fine.
func (r *Real) Stop() {
	select {
	case <-r.exited:
		return
	default:
	}
	r.Signal(syscall.SIGCONT)
	_ = r.command.Process.Signal(syscall.SIGTERM) // it tells its children, and reaps them
	select {
	case <-r.exited:
	case <-time.After(stopLimit):
		r.kill()
	}
}

// kill ends it and removes the lock files that it keeps in /tmp wherever its own
// directory is.
func (r *Real) kill() {
	var locks []string
	fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", r.command.Process.Pid))
	for _, fd := range fds {
		if file, err := os.Readlink(fd); err == nil && strings.HasPrefix(file, "/tmp/icap_lock_") {
			locks = append(locks, file)
		}
	}
	r.Signal(syscall.SIGKILL)
	<-r.exited
	for _, file := range locks {
		_ = os.Remove(file)
	}
}
