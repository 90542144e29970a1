package scanv1

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/portcullis-av/portcullis/scan"
)

// Request is one object to scan, as far as its sender describes it.
type Request struct {
	Policy   string // empty: the default
	FileName string // untrusted
	Labels   scan.Labels
}

// Result is what a [Scanner] found out.
type Result struct {
	Verdict scan.Verdict
	Action  scan.Action
	Policy  string // the name of the policy that was used
	Size    int64  // bytes held
	SHA256  [32]byte
	// Whole says that Size and SHA256 are those of the whole object.
	Whole bool
}

// Scanner scans one object. It reads content to its end, or stops reading when
// more bytes cannot change the verdict. An error that content returned comes
// back as the error; any other error has a scan.Kind. An unknown policy is a
// verdict with [scan.CauseUnknownPolicy].
type Scanner interface {
	Scan(ctx context.Context, r Request, content io.Reader) (Result, error)
}

// EngineState is how one engine is.
type EngineState struct {
	Name, Kind string
	Healthy    bool
	Err        error // why it is not healthy; nil when it is, or when nobody asked yet
	Signatures scan.Signatures
}

// Lister knows the engines, in the order of the configuration.
type Lister interface {
	Engines(ctx context.Context) []EngineState
}

// Server serves ScanService.
type Server struct {
	UnimplementedScanServiceServer
	scanner Scanner
	lister  Lister
	upload  func() time.Duration
}

var _ ScanServiceServer = (*Server)(nil)

// NewServer returns a server for [RegisterScanServiceServer]. An object that has
// not arrived whole after the time that upload says at its beginning fails its
// call with DEADLINE_EXCEEDED, whatever deadline the client has set.
func NewServer(scanner Scanner, lister Lister, upload func() time.Duration) *Server {
	return &Server{scanner: scanner, lister: lister, upload: upload}
}

// Scan implements [ScanServiceServer].
func (s *Server) Scan(stream grpc.ClientStreamingServer[ScanRequest, ScanResponse]) error {
	content := receive(stream, s.upload())
	defer content.stop()
	request, err := content.open()
	if err != nil {
		return err
	}
	result, err := s.scanner.Scan(stream.Context(), request, content)
	switch {
	case content.failure() != nil:
		return content.failure()
	case err != nil:
		return statusOf(err)
	case result.Verdict.Cause == scan.CauseUnknownPolicy:
		return status.Error(codes.NotFound, "no policy of that name")
	}
	return stream.SendAndClose(response(result))
}

// ListEngines implements [ScanServiceServer].
func (s *Server) ListEngines(ctx context.Context, _ *ListEnginesRequest) (*ListEnginesResponse, error) {
	list := &ListEnginesResponse{}
	for _, e := range s.lister.Engines(ctx) {
		list.Engines = append(list.Engines, engineStatus(e))
	}
	return list, nil
}

func engineStatus(e EngineState) *EngineStatus {
	out := &EngineStatus{
		Name: safeText(e.Name), Kind: safeText(e.Kind), Healthy: e.Healthy,
		Signatures: safeText(e.Signatures.Version),
	}
	if e.Err != nil {
		out.LastError = scan.KindOf(e.Err).String()
	}
	if !e.Signatures.Built.IsZero() {
		out.SignaturesBuilt = timestamppb.New(e.Signatures.Built)
	}
	return out
}

func response(r Result) *ScanResponse {
	v := r.Verdict
	out := &ScanResponse{
		Outcome: outcomeOf(v.Outcome), Cause: safeText(string(v.Cause)), Threats: scan.SafeThreats(v.Threats),
		Engine: safeText(v.Engine), Signatures: safeText(v.Signatures), Object: safeText(v.Object),
		Size: r.Size, Action: Action_ACTION_BLOCK, Policy: safeText(r.Policy),
	}
	if r.Whole {
		out.Sha256 = hex.EncodeToString(r.SHA256[:])
	}
	if r.Action == scan.Pass {
		out.Action = Action_ACTION_PASS
	}
	return out
}

// outcomeOf never makes CLEAN of anything else.
func outcomeOf(o scan.Outcome) Outcome {
	switch o {
	case scan.OutcomeClean:
		return Outcome_OUTCOME_CLEAN
	case scan.OutcomeUnscannable:
		return Outcome_OUTCOME_UNSCANNABLE
	case scan.OutcomePolicy:
		return Outcome_OUTCOME_POLICY
	case scan.OutcomeInfected:
		return Outcome_OUTCOME_INFECTED
	case scan.OutcomeUndecided, scan.OutcomeError:
	}
	return Outcome_OUTCOME_ERROR
}

// statusOf says by its code what kind of failure it was, and no more: the
// error's text may be foreign or name hosts and paths.
func statusOf(err error) error {
	kind := scan.KindOf(err)
	return status.Error(codeOf(kind), "could not scan: "+kind.String())
}

func codeOf(kind scan.Kind) codes.Code {
	switch kind {
	case scan.KindUnreachable, scan.KindProtocol:
		return codes.Unavailable
	case scan.KindTimeout:
		return codes.DeadlineExceeded
	case scan.KindCanceled:
		return codes.Canceled
	case scan.KindRefused:
		return codes.FailedPrecondition
	case scan.KindOverload:
		return codes.ResourceExhausted
	case scan.KindSpool, scan.KindInternal:
	}
	return codes.Internal
}

// contextStatus is the status of a call whose context has ended.
func contextStatus(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return status.Error(codes.DeadlineExceeded, "the call's time is over")
	}
	return status.Error(codes.Canceled, "the caller left")
}
