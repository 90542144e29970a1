package e2e_test

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unicode/utf16"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/portcullis-av/portcullis/e2e/client"
	"github.com/portcullis-av/portcullis/e2e/origin"
	"github.com/portcullis-av/portcullis/e2e/payload"
	"github.com/portcullis-av/portcullis/e2e/rig"
	"github.com/portcullis-av/portcullis/scan/clamd/clamdtest"
	"github.com/portcullis-av/portcullis/scan/scanv1"
)

const tooLarge = http.StatusRequestEntityTooLarge

// engineFaults are the cases of one body at a time.
func engineFaults() []engineFault {
	all := []engineFault{
		{"F-01", "refuses connections", "fake clamd", withFake(clamdtest.Options{}, func(_ *testing.T, s *clamdtest.Server) { s.Stop() },
			hurtEngine{want: failed("engine-unreachable"), results: []string{"unreachable"}})},
		{"F-01", "refuses connections, one of two", "fake clamd", besideGood(withFake(clamdtest.Options{},
			func(_ *testing.T, s *clamdtest.Server) { s.Stop() }, hurtEngine{want: served(), results: []string{"verdict"}}))},
		{"F-02", "full backlog, TCP", "none", withFullBacklog(syscall.AF_INET, failed("engine-unreachable"))},
		// A busy engine: clients may be the reason, so that this never passes.
		{"F-02", "full backlog, unix", "none", withFullBacklog(syscall.AF_UNIX, blocked(http.StatusServiceUnavailable, "ERROR", "overload"))},
		{"F-03", "never answered yet", "fake clamd", withFake(clamdtest.Options{}, set(clamdtest.Fault{Hang: true}),
			hurtEngine{want: failed("engine-unreachable", "engine-timeout"), within: engineScan + time.Second})},
		{"F-03", "never answers", "fake clamd", silent},
		{"F-03", "SIGSTOP", "real clamd", stopped},
		{"F-04", "SIGKILL in the middle", "real clamd", alone(killed(syscall.SIGKILL))},
		{"F-12", "SIGKILL in the middle, restarted", "real clamd", restarted(killed(syscall.SIGKILL))},
		{"F-04", "SIGKILL in the middle, one of two", "real clamd", takenOver(killed(syscall.SIGKILL))},
		{"F-05", "SIGTERM in the middle", "real clamd", saysLast(alone(killed(syscall.SIGTERM)))},
		{"F-05", "SIGTERM in the middle, one of two", "real clamd", takenOver(killed(syscall.SIGTERM))},
		{"F-06", "reset before the upload", "fake clamd", overWire(toxic{Type: "reset_peer", Stream: "upstream"}, failed("engine-unreachable"))},
		{"F-06", "closed without a word", "fake clamd", overWire(toxic{
			Type: "timeout", Stream: "upstream", Attributes: map[string]int{"timeout": 100},
		}, failed("engine-unreachable"))},
		{"F-06", "upload cut", "fake clamd", overWire(toxic{
			Type: "limit_data", Stream: "upstream", Attributes: map[string]int{"bytes": 40},
		}, failed("engine-unreachable"))},
		{"F-06", "upload swallowed", "fake clamd", overWire(toxic{
			Type: "timeout", Stream: "upstream", Attributes: map[string]int{"timeout": 0},
		}, failed("engine-timeout"))},
		{"F-06", "late end of the connection", "fake clamd", overWire(toxic{
			Type: "slow_close", Stream: "downstream", Attributes: map[string]int{"delay": 5000},
		}, served())},
		{"F-06", "reply in pieces", "fake clamd", overWire(toxic{
			Type: "slicer", Stream: "downstream", Attributes: map[string]int{"average_size": 1, "delay": 1000},
		}, served())},
		{"F-10", "stalled upload is told so", "real clamd", stalled},
		{"F-13", "no signatures", "real clamd", withoutSignatures},
	}
	for _, c := range []struct {
		when  string
		fault clamdtest.Fault
	}{{"during", clamdtest.Fault{DieAfter: 10, Reset: true}}, {"after", clamdtest.Fault{DieAtEnd: true, Reset: true}}} {
		dies := func(w want, result string) func(t *testing.T) *hurtEngine {
			return withFake(clamdtest.Options{Network: "tcp"}, set(c.fault), hurtEngine{want: w, results: []string{result}})
		}
		all = append(all,
			engineFault{"F-06", "reset " + c.when + " the upload", "fake clamd", dies(failed("engine-unreachable"), "unreachable")},
			engineFault{"F-06", "reset " + c.when + " the upload, one of two", "fake clamd", besideGood(dies(served(), "verdict"))})
	}
	return append(all, replyFaults()...)
}

// replyFaults are engines that say what proves nothing.
func replyFaults() []engineFault {
	var all []engineFault
	for _, c := range []struct{ name, reply string }{
		{"garbage", "\x01\x02\x03\x00"},
		{"two lines", "stream: OK\x00stream: OK\x00"},
		{"a foreign id", "7: stream: OK\x00"},
		{"UTF-16", utf16Of("stream: OK\x00")},
		{"10 MB", strings.Repeat("stream: OK", 1<<20)},
		{"another word", "stream: OKAY\x00"},
	} {
		all = append(all, engineFault{"F-08", "replies " + c.name, "fake clamd", withFake(clamdtest.Options{},
			set(clamdtest.Fault{Reply: []byte(c.reply)}), hurtEngine{want: failed("engine-protocol"), results: []string{"protocol"}})})
	}
	const limit = 64 << 10 // of the engine; the bodies are larger
	over := blocked(tooLarge, "UNSCANNABLE", "too-large")
	overflow := []byte("INSTREAM size limit exceeded. ERROR\x00")
	return append(all,
		engineFault{"F-09", "over StreamMaxLength", "fake clamd", withFake(clamdtest.Options{StreamMaxLength: limit}, nil,
			hurtEngine{want: over, results: []string{"verdict"}})},
		engineFault{"F-09", "over StreamMaxLength, told while we write", "fake clamd", withFake(clamdtest.Options{},
			set(clamdtest.Fault{EarlyAfter: limit, Reply: overflow}), hurtEngine{want: over, results: []string{"verdict"}})},
		engineFault{"F-09", "over StreamMaxLength, told and stalled", "fake clamd", withFake(clamdtest.Options{},
			set(clamdtest.Fault{EarlyAfter: limit, EarlyStall: true, Reply: overflow}), hurtEngine{want: over, results: []string{"verdict"}})},
		engineFault{"F-09", "over StreamMaxLength", "real clamd", func(t *testing.T) *hurtEngine {
			daemon := clamdtest.StartReal(t, clamdtest.RealOptions{StreamMaxLength: limit})
			return &hurtEngine{addresses: []string{daemon.Unix()}, want: over, results: []string{"verdict"}}
		}},
		engineFault{"F-10", "gave up reading", "fake clamd", withFake(clamdtest.Options{},
			set(clamdtest.Fault{Reply: []byte("COMMAND READ TIMED OUT\n")}),
			hurtEngine{want: failed("engine-protocol"), results: []string{"protocol"}})},
		engineFault{"F-13", "no signatures", "fake clamd", withFake(clamdtest.Options{},
			set(clamdtest.Fault{Reply: []byte("stream: OK\x00")}), hurtEngine{want: failed("engine-protocol"), hurt: outOfUse})},
		engineFault{"F-13", "old signatures", "fake clamd", withFake(
			clamdtest.Options{Version: "ClamAV 1.4.6/27500/" + time.Now().Add(-72*time.Hour).Format(time.ANSIC)}, nil,
			hurtEngine{want: served(), after: tellsAge})},
	)
}

func utf16Of(s string) string {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return string(b)
}

// withFake is the fault of one fake clamd, spoilt before the gate sees it.
func withFake(o clamdtest.Options, spoil func(*testing.T, *clamdtest.Server), h hurtEngine) func(t *testing.T) *hurtEngine {
	return func(t *testing.T) *hurtEngine {
		s := clamdtest.Start(t, o)
		if spoil != nil {
			spoil(t, s)
		}
		made := h
		made.addresses = []string{s.Address()}
		return &made
	}
}

func set(f clamdtest.Fault) func(*testing.T, *clamdtest.Server) {
	return func(_ *testing.T, s *clamdtest.Server) { s.Set(f) }
}

// besideGood adds an instance that works.
func besideGood(start func(t *testing.T) *hurtEngine) func(t *testing.T) *hurtEngine {
	return func(t *testing.T) *hurtEngine {
		h := start(t)
		h.addresses = append(h.addresses, clamdtest.Start(t, clamdtest.Options{}).Address())
		return h
	}
}

// overWire is the fault of a wire to a fake that works.
func overWire(x toxic, w want) func(t *testing.T) *hurtEngine {
	return func(t *testing.T) *hurtEngine {
		line := startWire(t, clamdtest.Start(t, clamdtest.Options{Network: "tcp"}).Address())
		return &hurtEngine{
			addresses: []string{line.address()}, want: w, within: engineScan + time.Second,
			hurt: func(t *testing.T, f *faultRun) {
				f.await(t, 1, "up")
				line.spoil(t, x)
			},
			after: func(t *testing.T, f *faultRun) string {
				line.clear()
				return fmt.Sprintf(", back in %v", f.back(t, 5*time.Second).Round(10*time.Millisecond))
			},
		}
	}
}

// withFullBacklog is a listener that nobody accepts from and that has no room left.
func withFullBacklog(family int, w want) func(t *testing.T) *hurtEngine {
	return func(t *testing.T) *hurtEngine {
		name := fullBacklog(t, family)
		return &hurtEngine{addresses: []string{name}, want: w, within: time.Second, hurt: probed}
	}
}

// fullBacklog is the address of such a listener.
func fullBacklog(t *testing.T, family int) string {
	t.Helper()
	fd, err := syscall.Socket(family, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	path := filepath.Join(shortTemp(t), "full.sock")
	var at syscall.Sockaddr = &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
	if family == syscall.AF_UNIX {
		at = &syscall.SockaddrUnix{Name: path}
	}
	if err := syscall.Bind(fd, at); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	network, address, name := "unix", path, "unix:"+path
	if family == syscall.AF_INET {
		bound, err := syscall.Getsockname(fd)
		if err != nil {
			t.Fatal(err)
		}
		network, address = "tcp", fmt.Sprintf("127.0.0.1:%d", bound.(*syscall.SockaddrInet4).Port)
		name = address
	}
	for range 10 {
		conn, err := net.DialTimeout(network, address, 300*time.Millisecond)
		if err != nil {
			return name
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
	t.Fatal("the backlog takes more than 10 connections")
	return ""
}

// shortTemp is a folder whose path leaves room for a unix socket's name.
func shortTemp(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pf") //nolint:usetesting // t.TempDir's names are too long
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// silent is a fake that falls silent once it has been called good.
func silent(t *testing.T) *hurtEngine {
	s := clamdtest.Start(t, clamdtest.Options{})
	return &hurtEngine{
		addresses: []string{s.Address()}, want: failed("engine-timeout"), within: engineScan + time.Second, results: []string{"timeout"},
		hurt: func(t *testing.T, f *faultRun) {
			f.await(t, 1, "up")
			s.Set(clamdtest.Fault{Hang: true})
		},
	}
}

// stopped is a clamd that stands still, and goes on afterwards.
func stopped(t *testing.T) *hurtEngine {
	daemon := clamdtest.StartReal(t, clamdtest.RealOptions{})
	return &hurtEngine{
		addresses: []string{daemon.Unix()}, want: failed("engine-timeout"), within: engineScan + time.Second, results: []string{"timeout"},
		hurt: func(t *testing.T, f *faultRun) {
			f.await(t, 1, "up")
			daemon.Signal(syscall.SIGSTOP)
		},
		after: func(t *testing.T, f *faultRun) string {
			daemon.Signal(syscall.SIGCONT)
			return fmt.Sprintf(", back in %v", f.back(t, 5*time.Second).Round(10*time.Millisecond))
		},
	}
}

// dying is a clamd behind a wire that is slow enough to meet the moment in which
// a body is on its way there.
type dying struct {
	hurtEngine
	wire *wire
	kill func()
}

// killed is a clamd that ends while it is being sent a body.
func killed(by syscall.Signal) func(t *testing.T) *dying {
	return func(t *testing.T) *dying {
		daemon := clamdtest.StartReal(t, clamdtest.RealOptions{})
		d := &dying{wire: startWire(t, daemon.TCP()), kill: func() { daemon.Signal(by) }}
		d.hurtEngine = hurtEngine{
			addresses: []string{d.wire.address()}, want: failed("engine-unreachable"), results: []string{"unreachable"},
			within: engineScan + time.Second, hurt: d.slow, during: d.die,
		}
		return d
	}
}

// alone is one with no instance beside it.
func alone(start func(t *testing.T) *dying) func(t *testing.T) *hurtEngine {
	return func(t *testing.T) *hurtEngine { return &start(t).hurtEngine }
}

// saysLast is one that may say last words, which prove nothing, before it ends.
func saysLast(start func(t *testing.T) *hurtEngine) func(t *testing.T) *hurtEngine {
	return func(t *testing.T) *hurtEngine {
		h := start(t)
		h.want, h.results = failed("engine-unreachable", "engine-protocol"), nil
		return h
	}
}

func (d *dying) slow(t *testing.T, f *faultRun) {
	f.await(t, 1, "up", "instance", d.wire.address())
	d.wire.spoil(t, toxic{Type: "bandwidth", Stream: "upstream", Attributes: map[string]int{"rate": 100}})
}

func (d *dying) die(t *testing.T, f *faultRun) {
	f.await(t, 1, "scans_in_flight", "instance", d.wire.address())
	time.Sleep(200 * time.Millisecond) // into the body: the wire takes some 2 s for it
	d.kill()
}

// restarted has another clamd take the place of a dead one.
func restarted(start func(t *testing.T) *dying) func(t *testing.T) *hurtEngine {
	return func(t *testing.T) *hurtEngine {
		d := start(t)
		d.after = func(t *testing.T, f *faultRun) string {
			d.wire.clear()
			d.wire.cut()
			d.wire.mend(t, clamdtest.StartReal(t, clamdtest.RealOptions{}).TCP())
			return fmt.Sprintf(", restarted and back in %v", f.back(t, 5*time.Second).Round(10*time.Millisecond))
		}
		return &d.hurtEngine
	}
}

// takenOver puts an instance beside it that takes over. More bodies go along, so
// that at least one is at the dying instance; each of them must be judged.
func takenOver(start func(t *testing.T) *dying) func(t *testing.T) *hurtEngine {
	return func(t *testing.T) *hurtEngine {
		d := start(t)
		d.addresses = append(d.addresses, clamdtest.Start(t, clamdtest.Options{}).Address())
		d.want, d.results = served(), []string{"verdict", "unreachable"}
		d.during = func(t *testing.T, f *faultRun) {
			var bodies sync.WaitGroup
			var dead atomic.Bool
			for i := range uint64(3) {
				bodies.Go(func() {
					for n := uint64(0); !dead.Load(); n++ {
						body := payload.Random(500+i+10*n, 200<<10)
						x, err := f.gate.try(t, newID(), client.HTTP1, client.Request{Path: "/" + f.name + "/beside", Body: body}, origin.Answer{})
						if err != nil || x.Status != http.StatusOK || x.seen.SHA256 != body.SHA256() {
							t.Errorf("beside it: status %d, %v: %s", x.Status, err, x.Head)
						}
					}
				})
			}
			d.die(t, f)
			dead.Store(true)
			bodies.Wait()
		}
		return &d.hurtEngine
	}
}

// stalled is a clamd to which nothing of the upload gets through.
func stalled(t *testing.T) *hurtEngine {
	daemon := clamdtest.StartReal(t, clamdtest.RealOptions{ReadTimeout: time.Second, Conf: []string{"CommandReadTimeout 1"}})
	line := startWire(t, daemon.TCP())
	return &hurtEngine{
		addresses: []string{line.address()}, want: failed("engine-protocol"), within: engineScan + time.Second, results: []string{"protocol"},
		hurt: func(t *testing.T, f *faultRun) {
			f.await(t, 1, "up")
			line.spoil(t, toxic{Type: "timeout", Stream: "upstream", Attributes: map[string]int{"timeout": 0}})
		},
	}
}

// probed waits until the first probe of the engine has ended, whatever it found.
func probed(t *testing.T, f *faultRun) {
	t.Helper()
	conn, err := grpc.NewClient(f.gate.portcullis.ExtProc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	awaitZero(t, f.name+": the first probe", func() (int64, error) {
		list, err := scanv1.NewScanServiceClient(conn).ListEngines(t.Context(), &scanv1.ListEnginesRequest{})
		for _, e := range list.GetEngines() {
			if e.GetName() == f.name && (e.GetHealthy() || e.GetLastError() != "") {
				return 0, err
			}
		}
		return 1, err
	})
}

// outOfUse waits until the probe has found the engine blind.
func outOfUse(t *testing.T, f *faultRun) {
	t.Helper()
	f.await(t, 1, "breaker_open")
	if up := f.metric(t, "up"); up != 0 {
		t.Errorf("portcullis_engine_up is %v", up)
	}
}

// withoutSignatures is a clamd whose database holds a comment and nothing else,
// with which it calls everything OK.
func withoutSignatures(t *testing.T) *hurtEngine {
	binary, err := rig.FindClamd()
	if err != nil {
		t.Fatal(err)
	}
	dir := shortTemp(t)
	socket := filepath.Join(dir, "clamd.sock")
	conf := strings.Join([]string{
		"Foreground yes", "SelfCheck 0", "DatabaseDirectory " + dir, "TemporaryDirectory " + dir, "LocalSocket " + socket, "",
	}, "\n")
	for name, text := range map[string]string{"clamd.conf": conf, "none.ndb": "# nothing\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p, err := rig.Spawn(dir, "clamd", binary, "--config-file="+filepath.Join(dir, "clamd.conf"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Kill()
		showLog(t, "clamd", p)
	})
	awaitZero(t, "socket of a clamd without signatures", func() (int64, error) {
		c, err := net.Dial("unix", socket)
		if err != nil {
			return 1, err
		}
		return 0, c.Close()
	})
	return &hurtEngine{addresses: []string{"unix:" + socket}, want: failed("engine-protocol"), hurt: outOfUse}
}

// tellsAge requires the metric by which old signatures are noticed.
func tellsAge(t *testing.T, f *faultRun) string {
	t.Helper()
	age := time.Since(time.Unix(int64(f.metric(t, "signatures_timestamp_seconds")), 0))
	if age < 48*time.Hour || age > 96*time.Hour {
		t.Errorf("the signatures are said to be %v old", age)
	}
	return fmt.Sprintf(", age %v in the metric", age.Round(time.Hour))
}
