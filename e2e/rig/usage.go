package rig

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// Usage is what a process takes from the machine.
type Usage struct {
	RSS, PeakRSS int64 // bytes
	FileRSS      int64 // of RSS: pages of files, such as the program's own
	Files        int   // open descriptors
	Threads      int
	CPU          time.Duration // user and system time since the start
}

// Linux counts CPU time in ticks of 1/100 s on every architecture Go supports.
const tick = 10 * time.Millisecond

// Usage reads /proc, so it is an error elsewhere than on Linux and after the
// process has ended.
func (p *Process) Usage() (Usage, error) {
	dir := fmt.Sprintf("/proc/%d/", p.PID())
	var u Usage
	status, err := os.ReadFile(dir + "status")
	if err != nil {
		return u, err
	}
	for line := range strings.Lines(string(status)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		fields := strings.Fields(value)
		if len(fields) == 0 {
			continue
		}
		n, _ := strconv.ParseInt(fields[0], 10, 64) // the keys below are numbers
		switch key {
		case "VmRSS":
			u.RSS = n << 10
		case "RssFile":
			u.FileRSS = n << 10
		case "VmHWM":
			u.PeakRSS = n << 10
		case "Threads":
			u.Threads = int(n)
		}
	}
	files, err := os.ReadDir(dir + "fd")
	if err != nil {
		return u, err
	}
	u.Files = len(files)
	u.CPU, err = cpuTime(dir + "stat")
	return u, err
}

func cpuTime(path string) (time.Duration, error) {
	stat, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	// The second field is the command's name in brackets and may hold spaces.
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, fmt.Errorf("%s has %d fields after the name", path, len(fields))
	}
	var ticks int64
	for _, f := range fields[11:13] { // utime, stime: proc(5) fields 14 and 15
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * tick, nil
}

// ResetPeak makes PeakRSS start again from the present RSS (proc(5), clear_refs).
func (p *Process) ResetPeak() error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.PID()), []byte("5"), 0)
}
