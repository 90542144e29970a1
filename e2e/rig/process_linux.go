package rig

import "syscall"

// dieWithParent makes the kernel kill the child when this process dies, so that
// a test run that panics or times out leaves nothing behind.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
