package remote

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/scanv1"
)

// judge turns the far verdict into ours. Whatever is not known word by word is
// an error of KindProtocol.
func judge(r *scanv1.ScanResponse, o scan.Object) (scan.Verdict, error) {
	cause := scan.Cause(r.GetCause())
	v := scan.Verdict{
		Cause: cause, Threats: r.GetThreats(), Signatures: r.GetSignatures(),
		Detail: fmt.Sprintf("engine %.100q there, object %.200q, policy %.100q", r.GetEngine(), r.GetObject(), r.GetPolicy()),
	}
	switch r.GetOutcome() {
	case scanv1.Outcome_OUTCOME_CLEAN:
		return judgeClean(v, r, o)
	case scanv1.Outcome_OUTCOME_ERROR:
		return scan.Verdict{}, farError(cause, v.Detail)
	case scanv1.Outcome_OUTCOME_INFECTED:
		v.Outcome = scan.OutcomeInfected
		if len(v.Threats) == 0 {
			v.Threats = []string{scan.SafeThreat("")}
		}
	case scanv1.Outcome_OUTCOME_POLICY:
		v.Outcome = scan.OutcomePolicy
	case scanv1.Outcome_OUTCOME_UNSCANNABLE:
		v.Outcome = scan.OutcomeUnscannable
	case scanv1.Outcome_OUTCOME_UNSPECIFIED:
	}
	if !belongs(cause, v.Outcome) {
		return scan.Verdict{}, protocolError("outcome %v, cause %.100q", r.GetOutcome(), cause)
	}
	return v, nil
}

// judgeClean wants proof that what was judged is what was sent, all of it.
func judgeClean(v scan.Verdict, r *scanv1.ScanResponse, o scan.Object) (scan.Verdict, error) {
	switch {
	case v.Cause != scan.CauseScanned || len(v.Threats) > 0:
		return scan.Verdict{}, protocolError("CLEAN, cause %.100q, with %d threats", v.Cause, len(v.Threats))
	case r.GetSize() != o.Size || r.GetSha256() != digestOf(o):
		return scan.Verdict{}, protocolError("CLEAN for another object: %d of %d bytes, digest %.64q", r.GetSize(), o.Size, r.GetSha256())
	}
	v.Outcome = scan.OutcomeClean
	return v, nil
}

// digestOf is what the reply to o must repeat.
func digestOf(o scan.Object) string {
	sum := o.Digest()
	return hex.EncodeToString(sum[:])
}

func protocolError(format string, args ...any) error {
	return &scan.Error{Kind: scan.KindProtocol, Op: op, Err: fmt.Errorf(format, args...)}
}

// belongs reports whether the cause is one of the outcome's; none is of an
// outcome that is not known.
func belongs(cause scan.Cause, outcome scan.Outcome) bool {
	switch outcome {
	case scan.OutcomeInfected:
		return cause == scan.CauseMalware
	case scan.OutcomePolicy:
		return slices.Contains([]scan.Cause{
			scan.CauseForbiddenType, scan.CauseEncrypted, scan.CauseMacro, scan.CauseBomb, scan.CauseAmbiguousArchive,
			scan.CausePartialArchive, scan.CauseActiveContent, scan.CauseInvalidFile, scan.CauseEnginePolicy,
		}, cause)
	case scan.OutcomeUnscannable:
		return slices.Contains([]scan.Cause{
			scan.CauseTooLarge, scan.CauseUnknownCoding, scan.CauseMalformedCoding, scan.CauseMalformedBody, scan.CauseTooDeep,
			scan.CauseTooManyObjects, scan.CauseExpansion, scan.CauseScanTimeout, scan.CauseEngineLimit, scan.CausePartialContent,
			scan.CauseUploadDeadline, scan.CauseEndlessStream, scan.CauseUncoveredMode, scan.CauseTunnel, scan.CauseAmbiguousHeaders, scan.CauseRuleFailed,
		}, cause)
	case scan.OutcomeUndecided, scan.OutcomeClean, scan.OutcomeError:
	}
	return false
}

// farError is the error that a far outcome ERROR stands for.
func farError(cause scan.Cause, detail string) error {
	var kind scan.Kind
	switch cause {
	case scan.CauseEngineUnreachable:
		kind = scan.KindUnreachable
	case scan.CauseEngineTimeout:
		kind = scan.KindTimeout
	case scan.CauseEngineRefused, scan.CauseUnknownPolicy:
		kind = scan.KindRefused
	case scan.CauseOverload:
		kind = scan.KindOverload
	case scan.CauseSpool:
		kind = scan.KindSpool
	case scan.CauseInternal:
		// What makes the far gate stumble may be content: it does not fail open
		// there, and so not here.
		kind = scan.KindInternal
	default:
		kind = scan.KindProtocol
	}
	return &scan.Error{Kind: kind, Op: op, Err: fmt.Errorf("it says ERROR, cause %.100q; %s", cause, detail)}
}

// failure gives an error of the call its kind.
func failure(ctx context.Context, err error) error {
	if scanErr, ok := errors.AsType[*scan.Error](err); ok {
		return scanErr
	}
	if ctx.Err() != nil {
		return &scan.Error{Kind: scan.KindOf(ctx.Err()), Op: op, Err: ctx.Err()}
	}
	return &scan.Error{Kind: kindOf(status.Code(err)), Op: op, Err: err}
}

func kindOf(code codes.Code) scan.Kind {
	switch code {
	case codes.Unavailable, codes.Canceled:
		return scan.KindUnreachable
	case codes.DeadlineExceeded:
		return scan.KindTimeout
	case codes.ResourceExhausted:
		return scan.KindOverload
	case codes.FailedPrecondition, codes.PermissionDenied, codes.Unauthenticated, codes.NotFound, codes.Unimplemented:
		return scan.KindRefused
	default:
		return scan.KindProtocol
	}
}
