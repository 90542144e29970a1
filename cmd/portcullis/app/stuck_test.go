package app

import (
	"context"
	"io"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/portcullis-av/portcullis/cmd/portcullis/config"
	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/scanv1"
)

// stubborn is an engine that heeds nothing; no real one is meant to be so.
type stubborn struct{ asked, stop chan struct{} }

func (s stubborn) Scan(context.Context, scan.Object) (scan.Verdict, error) {
	s.asked <- struct{}{}
	<-s.stop
	return scan.CleanVerdict(), nil
}

// A scan that never ends cannot keep the process from ending.
func TestDrainWithAStuckScan(t *testing.T) {
	const text = "listen: {extproc: \"127.0.0.1:0\", admin: \"127.0.0.1:0\"}\ndrain: {grace: 100ms, timeout: 200ms}\n" +
		"policies: [{name: default, engines: [builtin], scan_timeout: 1h}]\n"
	cfg, err := config.Parse("test", []byte(text), checkRules)
	if err != nil {
		t.Fatal(err)
	}
	s, err := newService(t.Context(), cfg, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	engine := stubborn{make(chan struct{}, 1), make(chan struct{})}
	setup := s.parts().setup
	setup.Engines = map[string]scan.Engine{"builtin": engine}
	s.gate.Swap(setup)

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- s.run(ctx) }()
	conn, err := grpc.NewClient("passthrough:///"+s.extprocL.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	answered := make(chan error, 1)
	go func() {
		stream, err := scanv1.NewScanServiceClient(conn).Scan(context.Background())
		if err == nil {
			_ = stream.Send(&scanv1.ScanRequest{Chunk: []byte("hello")})
			_, err = stream.CloseAndRecv()
		}
		answered <- err
	}()
	<-engine.asked
	begun := time.Now()
	cancel()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("it ended with %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Errorf("it has not ended after %v", time.Since(begun))
	}
	if err := <-answered; err == nil {
		t.Error("the scan that was cut off was answered")
	}
	_ = conn.Close()
	close(engine.stop) // so that no goroutine is left
}
