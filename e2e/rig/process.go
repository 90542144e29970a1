package rig

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// Process is a child process whose output goes to a file. It dies with its
// parent where the system can do that (Linux).
type Process struct {
	name string
	cmd  *exec.Cmd
	log  string
	done chan struct{} // closed once err is set
	err  error
}

// Spawn starts path with args. Output of both streams goes to dir/name.log.
func Spawn(dir, name, path string, args ...string) (*Process, error) {
	log := filepath.Join(dir, name+".log")
	out, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer func() { _ = out.Close() }() // the child has its own descriptor
	// Not CommandContext: a test's context ends before its cleanup, and each
	// process is ended by its owner, with the signal of the owner's choice.
	cmd := exec.Command(path, args...) //nolint:noctx // see above
	cmd.Dir = dir
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = dieWithParent()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &Process{name: name, cmd: cmd, log: log, done: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// PID is the process id, also after the end.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Exit waits for the end and returns the exit status, or -1 if a signal ended
// the process. An error means that it was still running after the time given.
func (p *Process) Exit(within time.Duration) (int, error) {
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
	}
	select { // both may have come
	case <-p.done:
		return p.cmd.ProcessState.ExitCode(), nil
	default:
		return 0, fmt.Errorf("%s still runs after %v", p.name, within)
	}
}

// Signal sends sig. Signalling an ended process is an error.
func (p *Process) Signal(sig syscall.Signal) error { return p.cmd.Process.Signal(sig) }

// Freeze stops the process with SIGSTOP and returns once every thread stands
// still, which on a busy machine is some time after the signal. It needs /proc.
// Signal(SIGCONT) lets it run on.
func (p *Process) Freeze() error {
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	return p.waitUntil(startTimeout, p.frozen)
}

func (p *Process) frozen() error {
	states, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.PID()))
	if err != nil {
		return err
	}
	if len(states) == 0 {
		return fmt.Errorf("no threads of %s in /proc", p.name)
	}
	for _, path := range states {
		stat, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		// The state follows the command's name in brackets: T is stopped.
		if _, rest, _ := bytes.Cut(stat, []byte(") ")); !bytes.HasPrefix(rest, []byte("T")) {
			return fmt.Errorf("%s still runs", path)
		}
	}
	return nil
}

// Kill ends the process at once and waits for its end. Killing twice is fine.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // SIGKILL also ends a stopped process
	<-p.done
}

// Stop asks the process to end with SIGTERM, and kills it when it has not done
// so within the time given; that is an error.
func (p *Process) Stop(within time.Duration) error {
	if err := p.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	_, err := p.Exit(within)
	p.Kill()
	return err
}

// Output is everything the process has printed so far.
func (p *Process) Output() []byte {
	out, err := os.ReadFile(p.log)
	if err != nil {
		return []byte(err.Error())
	}
	return out
}

// Tail is the last n lines of [Process.Output].
func (p *Process) Tail(n int) string {
	lines := bytes.Split(bytes.TrimRight(p.Output(), "\n"), []byte("\n"))
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	return string(bytes.Join(lines, []byte("\n")))
}

// waitUntil polls ready until it returns nil, the process ends or the time is
// over. There is nothing to be notified by: the other side is a process.
func (p *Process) waitUntil(within time.Duration, ready func() error) error {
	deadline := time.Now().Add(within)
	for {
		err := ready()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s is not ready after %v: %w\n%s", p.name, within, err, p.Tail(30))
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s ended before it was ready: %w\n%s", p.name, errors.Join(p.err, err), p.Tail(30))
		case <-time.After(20 * time.Millisecond):
		}
	}
}
