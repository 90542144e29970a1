package scanv1_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/scanv1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// scanner reads at most limit bytes and gives what it was told to.
type scanner struct {
	limit   int64
	result  scanv1.Result
	err     error
	request scanv1.Request
	read    []byte
	ended   error // what reading ended with
}

func (s *scanner) Scan(_ context.Context, r scanv1.Request, content io.Reader) (scanv1.Result, error) {
	s.request = r
	data, err := io.ReadAll(io.LimitReader(content, s.limit))
	s.read, s.ended = data, err
	if err != nil {
		return scanv1.Result{}, err
	}
	return s.result, s.err
}

type lister []scanv1.EngineState

func (l lister) Engines(context.Context) []scanv1.EngineState { return l }

const upload = time.Minute

// dial serves over a pipe in memory and returns a client of it.
func dial(t *testing.T, s scanv1.Scanner, l scanv1.Lister) scanv1.ScanServiceClient {
	t.Helper()
	listener := bufconn.Listen(64 << 10)
	server := grpc.NewServer(grpc.MaxRecvMsgSize(64 << 20))
	scanv1.RegisterScanServiceServer(server, scanv1.NewServer(s, l, func() time.Duration { return upload }))
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	conn, err := grpc.NewClient("passthrough:///bufconn",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return scanv1.NewScanServiceClient(conn)
}

// send scans what the messages carry.
func send(t *testing.T, client scanv1.ScanServiceClient, messages ...*scanv1.ScanRequest) (*scanv1.ScanResponse, error) {
	t.Helper()
	stream, err := client.Scan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range messages {
		if err := stream.Send(m); errors.Is(err, io.EOF) {
			break // the answer is there already
		} else if err != nil {
			t.Fatal(err)
		}
	}
	return stream.CloseAndRecv()
}

func chunk(s string) *scanv1.ScanRequest { return &scanv1.ScanRequest{Chunk: []byte(s)} }

// The scanner gets the bytes as they were sent and what the sender says about
// them; the client gets the verdict.
func TestScan(t *testing.T) {
	s := &scanner{limit: 1 << 20, result: scanv1.Result{
		Verdict: scan.Verdict{
			Outcome: scan.OutcomeInfected, Cause: scan.CauseMalware, Threats: []string{"Eicar-Test", "bad\nname", "Eicar-Test"},
			Engine: "clamav", Signatures: "27000", Object: "body/gzip", Detail: "secret detail",
		},
		Action: scan.Block, Policy: "strict", Size: 10, SHA256: sha256.Sum256([]byte("abcdefghij")), Whole: true,
	}}
	got, err := send(t, dial(t, s, lister{}),
		&scanv1.ScanRequest{
			Options: &scanv1.ScanOptions{Policy: "strict", FileName: "a.txt", ContentType: "text/plain", ContentEncoding: []string{"br", "gzip"}},
			Chunk:   []byte("abc"),
		},
		chunk("defg"), chunk(""), chunk("hij"))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte("abcdefghij"))
	want := &scanv1.ScanResponse{
		Outcome: scanv1.Outcome_OUTCOME_INFECTED, Cause: "malware", Threats: []string{"Eicar-Test", "unnamed-threat"},
		Engine: "clamav", Signatures: "27000", Object: "body/gzip", Size: 10, Sha256: hex.EncodeToString(sum[:]),
		Action: scanv1.Action_ACTION_BLOCK, Policy: "strict",
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
	wantRequest := scanv1.Request{Policy: "strict", FileName: "a.txt", Labels: scan.Labels{
		ContentType: []string{"text/plain"}, ContentEncoding: []string{"br", "gzip"},
	}}
	if diff := cmp.Diff(wantRequest, s.request); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
	if string(s.read) != "abcdefghij" {
		t.Errorf("the scanner read %q", s.read)
	}
}

// Options may be left out, and the object may be empty.
func TestScanWithoutOptions(t *testing.T) {
	for name, messages := range map[string][]*scanv1.ScanRequest{
		"no message": nil, "empty message": {{}}, "chunks": {chunk("a"), chunk("b")},
	} {
		t.Run(name, func(t *testing.T) {
			var want []byte
			for _, m := range messages {
				want = append(want, m.GetChunk()...)
			}
			s := &scanner{limit: 10, result: scanv1.Result{Verdict: scan.CleanVerdict(), Action: scan.Pass}}
			got, err := send(t, dial(t, s, lister{}), messages...)
			if err != nil || got.GetOutcome() != scanv1.Outcome_OUTCOME_CLEAN || got.GetAction() != scanv1.Action_ACTION_PASS {
				t.Errorf("answer = %v, %v", got, err)
			}
			if got.GetSha256() != "" {
				t.Errorf("a digest %q of an object that was not called whole", got.GetSha256())
			}
			if !bytes.Equal(want, s.read) || !cmp.Equal(scanv1.Request{}, s.request) {
				t.Errorf("the scanner got %+v and read %q", s.request, s.read)
			}
		})
	}
}

// Only CLEAN is CLEAN, and what nobody decided is an ERROR that blocks.
func TestOutcomes(t *testing.T) {
	for outcome, want := range map[scan.Outcome]scanv1.Outcome{
		scan.OutcomeUndecided: scanv1.Outcome_OUTCOME_ERROR, scan.OutcomeClean: scanv1.Outcome_OUTCOME_CLEAN,
		scan.OutcomeError: scanv1.Outcome_OUTCOME_ERROR, scan.OutcomeUnscannable: scanv1.Outcome_OUTCOME_UNSCANNABLE,
		scan.OutcomePolicy: scanv1.Outcome_OUTCOME_POLICY, scan.OutcomeInfected: scanv1.Outcome_OUTCOME_INFECTED,
		scan.Outcome(99): scanv1.Outcome_OUTCOME_ERROR,
	} {
		s := &scanner{limit: 10, result: scanv1.Result{Verdict: scan.Verdict{Outcome: outcome}}}
		got, err := send(t, dial(t, s, lister{}), chunk("x"))
		if err != nil || got.GetOutcome() != want || got.GetAction() != scanv1.Action_ACTION_BLOCK {
			t.Errorf("%v: answer = %v, %v; want %v and a block", outcome, got, err, want)
		}
	}
}

// A scanner that has read enough answers while the client is still sending.
func TestScanStopsReading(t *testing.T) {
	s := &scanner{limit: 100, result: scanv1.Result{
		Verdict: scan.Verdict{Outcome: scan.OutcomeUnscannable, Cause: scan.CauseTooLarge}, Size: 100,
	}}
	stream, err := dial(t, s, lister{}).Scan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	piece := chunk(strings.Repeat("x", 64<<10))
	sent := 0
	for ; err == nil; sent++ { // would never end if nobody answered
		err = stream.Send(piece)
	}
	if !errors.Is(err, io.EOF) {
		t.Fatalf("sending ended with %v after %d chunks", err, sent)
	}
	got, err := stream.CloseAndRecv()
	if err != nil || got.GetCause() != "too-large" || got.GetSize() != 100 || len(s.read) != 100 {
		t.Errorf("answer = %v, %v after %d bytes", got, err, len(s.read))
	}
}

func TestRefusedMessages(t *testing.T) {
	options := func(o *scanv1.ScanOptions) *scanv1.ScanRequest { return &scanv1.ScanRequest{Options: o} }
	long := strings.Repeat("x", 1025)
	for name, messages := range map[string][]*scanv1.ScanRequest{
		"options later":       {chunk("a"), options(&scanv1.ScanOptions{})},
		"first chunk too big": {chunk(strings.Repeat("x", 1<<20+1))},
		"later chunk too big": {chunk("a"), chunk(strings.Repeat("x", 1<<20+1))},
		"long policy":         {options(&scanv1.ScanOptions{Policy: long})},
		"long file name":      {options(&scanv1.ScanOptions{FileName: long})},
		"long type":           {options(&scanv1.ScanOptions{ContentType: long})},
		"many codings":        {options(&scanv1.ScanOptions{ContentEncoding: make([]string, 17)})},
		"long coding":         {options(&scanv1.ScanOptions{ContentEncoding: []string{long}})},
	} {
		t.Run(name, func(t *testing.T) {
			s := &scanner{limit: 4 << 20, result: scanv1.Result{Verdict: scan.CleanVerdict(), Action: scan.Pass}}
			got, err := send(t, dial(t, s, lister{}), messages...)
			if got != nil || status.Code(err) != codes.InvalidArgument {
				t.Errorf("answer = %v, %v; want INVALID_ARGUMENT", got, err)
			}
		})
	}
}

func TestLargestChunk(t *testing.T) {
	s := &scanner{limit: 4 << 20, result: scanv1.Result{Verdict: scan.CleanVerdict(), Action: scan.Pass}}
	if _, err := send(t, dial(t, s, lister{}), chunk(strings.Repeat("x", 1<<20))); err != nil || len(s.read) != 1<<20 {
		t.Errorf("%d bytes read, %v", len(s.read), err)
	}
}

// A failure is told by its kind, without the text of whoever failed.
func TestFailures(t *testing.T) {
	for kind, want := range map[scan.Kind]codes.Code{
		scan.KindInternal: codes.Internal, scan.KindUnreachable: codes.Unavailable, scan.KindTimeout: codes.DeadlineExceeded,
		scan.KindCanceled: codes.Canceled, scan.KindProtocol: codes.Unavailable, scan.KindRefused: codes.FailedPrecondition,
		scan.KindOverload: codes.ResourceExhausted, scan.KindSpool: codes.Internal,
	} {
		s := &scanner{limit: 10, err: fmt.Errorf("at 10.0.0.1: %w", &scan.Error{Kind: kind, Op: "ask hunter2"})}
		got, err := send(t, dial(t, s, lister{}), chunk("x"))
		if got != nil || status.Code(err) != want {
			t.Errorf("%v: answer = %v, %v; want %v", kind, got, err, want)
		}
		if text := status.Convert(err).Message(); strings.Contains(text, "hunter2") || strings.Contains(text, "10.0.0.1") {
			t.Errorf("%v: the client reads %q", kind, text)
		}
	}
}

func TestUnknownPolicy(t *testing.T) {
	s := &scanner{limit: 10, result: scanv1.Result{Verdict: scan.Verdict{Outcome: scan.OutcomeError, Cause: scan.CauseUnknownPolicy}}}
	if got, err := send(t, dial(t, s, lister{}), chunk("x")); status.Code(err) != codes.NotFound {
		t.Errorf("answer = %v, %v; want NOT_FOUND", got, err)
	}
}

// What an engine says is made fit for a message, not dropped with the call.
func TestForeignText(t *testing.T) {
	s := &scanner{limit: 10, result: scanv1.Result{Verdict: scan.Verdict{
		Outcome: scan.OutcomeInfected, Signatures: "27\xff000\r\n" + strings.Repeat("é", 300),
	}}}
	got, err := send(t, dial(t, s, lister{}), chunk("x"))
	if want := "27?000??" + strings.Repeat("é", 248); err != nil || got.GetSignatures() != want {
		t.Errorf("signatures = %q, %v", got.GetSignatures(), err)
	}
}

// A client that stalls or trickles does not hold the scanner for ever, and one
// that leaves is not answered with a verdict on half an object.
func TestUploadDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scanner{limit: 1 << 20, result: scanv1.Result{Verdict: scan.CleanVerdict(), Action: scan.Pass}}
		stream, err := dial(t, s, lister{}).Scan(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		for err == nil {
			err = stream.Send(chunk("x"))
			time.Sleep(time.Second)
		}
		_, err = stream.CloseAndRecv()
		if took := time.Since(began); status.Code(err) != codes.DeadlineExceeded || took > upload+5*time.Second {
			t.Errorf("ended with %v after %v", err, took)
		}
	})
}

func TestClientLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scanner{limit: 1 << 20, result: scanv1.Result{Verdict: scan.CleanVerdict(), Action: scan.Pass}}
		client := dial(t, s, lister{})
		ctx, cancel := context.WithCancel(t.Context())
		stream, err := client.Scan(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.Send(chunk("half")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		cancel()
		if got, err := stream.CloseAndRecv(); status.Code(err) != codes.Canceled {
			t.Errorf("answer = %v, %v", got, err)
		}
		synctest.Wait()
		if status.Code(s.ended) != codes.Canceled || string(s.read) != "half" {
			t.Errorf("the scanner read %q and then %v", s.read, s.ended)
		}
	})
}

func TestListEngines(t *testing.T) {
	built := time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)
	client := dial(t, &scanner{}, lister{
		{Name: "builtin", Kind: "builtin", Healthy: true, Signatures: scan.Signatures{Version: "a1", Built: built}},
		{Name: "clamav", Kind: "clamd", Err: &scan.Error{Kind: scan.KindUnreachable, Op: "connect to 10.0.0.1"}},
	})
	got, err := client.ListEngines(t.Context(), &scanv1.ListEnginesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	want := &scanv1.ListEnginesResponse{Engines: []*scanv1.EngineStatus{
		{Name: "builtin", Kind: "builtin", Healthy: true, Signatures: "a1", SignaturesBuilt: timestamppb.New(built)},
		{Name: "clamav", Kind: "clamd", LastError: "unreachable"},
	}}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}
