package extproc_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"google.golang.org/grpc"

	"github.com/portcullis-av/portcullis/extproc"
	"github.com/portcullis-av/portcullis/extproc/extproctest"
	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/gate"
	"github.com/portcullis-av/portcullis/scan/spool"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// door is an ext_proc server on a gate with parts of the test's choice.
type door struct {
	policy  scan.Policy
	engine  engine
	config  extproc.Config
	pool    *spool.Pool
	records chan *gate.Record
	store   scan.Store
	log     *slog.Logger // nil: nobody reads it
}

// engine is a scan.Engine made of a function.
type engine func(ctx context.Context, o scan.Object) (scan.Verdict, error)

func (e engine) Scan(ctx context.Context, o scan.Object) (scan.Verdict, error) { return e(ctx, o) }

func detect(_ context.Context, o scan.Object) (scan.Verdict, error) {
	b, err := io.ReadAll(o.Reader())
	if err != nil {
		return scan.Verdict{}, err
	}
	if bytes.Contains(b, extproctest.EICAR()) {
		return scan.InfectedVerdict("Eicar", "evil\r\nname"), nil
	}
	return scan.CleanVerdict(), nil
}

func unreachable(context.Context, scan.Object) (scan.Verdict, error) {
	return scan.Verdict{}, &scan.Error{Kind: scan.KindUnreachable, Op: "connect", Err: errors.New("refused")}
}

func hang(ctx context.Context, _ scan.Object) (scan.Verdict, error) {
	<-ctx.Done()
	return scan.Verdict{}, &scan.Error{Kind: scan.KindOf(ctx.Err()), Op: "wait", Err: ctx.Err()}
}

func slow(ctx context.Context, o scan.Object) (scan.Verdict, error) {
	select {
	case <-time.After(10 * time.Second):
		return detect(ctx, o)
	case <-ctx.Done():
		return hang(ctx, o)
	}
}

func silent(context.Context, scan.Object) (scan.Verdict, error) { return scan.Verdict{}, nil }

func panics(context.Context, scan.Object) (scan.Verdict, error) { panic("a decoder broke") }

var engines = map[string]engine{
	"detect": detect, "unreachable": unreachable, "hang": hang, "slow": slow, "silent": silent, "panics": panics,
}

// whole is an unwrapper that finds nothing inside.
type whole struct{}

func (whole) Unwrap(context.Context, scan.Object, scan.Labels, scan.ContentLimits, func(scan.Object)) (scan.Verdict, io.Closer) {
	return scan.CleanVerdict(), io.NopCloser(nil)
}

// Choose lets the door be its own policy.
func (d *door) Choose(_ scan.Attributes, name string) (*scan.Policy, error) {
	if name != "" && name != d.policy.Name {
		return nil, noPolicy{}
	}
	return &d.policy, nil
}

type noPolicy struct{}

func (noPolicy) Error() string     { return "there is no such policy" }
func (noPolicy) Cause() scan.Cause { return scan.CauseUnknownPolicy }

// Observe keeps the record for the test.
func (d *door) Observe(r *gate.Record) { d.records <- r }

func newDoor() *door {
	return &door{
		policy: scan.Policy{
			Name: "default", Engines: []string{"av"}, ScanRequest: true, ScanResponse: true, Enforce: true,
			MaxBodyBytes: 8 << 20, ScanTimeout: 30 * time.Second, UploadTimeout: time.Minute, ShowThreats: true,
		},
		engine:  detect,
		records: make(chan *gate.Record, 100),
	}
}

// serve starts the door and returns a connection to it. At the end of the test
// nothing may be held any more.
func (d *door) serve(t testing.TB) grpc.ClientConnInterface {
	t.Helper()
	pool, err := spool.New(spool.Config{MemoryBytes: 64 << 20, BodyMemoryBytes: 1 << 20, DiskDir: t.TempDir(), DiskBytes: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	d.pool = pool
	if d.store == nil {
		d.store = pool
	}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	g := gate.New(gate.Setup{
		Policies: d, Engines: map[string]scan.Engine{"av": d.engine}, Store: d.store, Unwrap: whole{}, Observer: d,
	})
	srv := extproc.NewServer(g, d.config, d.log, extproc.NewMetrics(prometheus.NewRegistry()))
	t.Cleanup(func() {
		if n := g.Open(); n != 0 {
			t.Errorf("%d exchanges are still open", n)
		}
	})
	return extproctest.Serve(t, srv, grpc.MaxRecvMsgSize(64<<20), grpc.ForceServerCodecV2(extproc.Codec()))
}
