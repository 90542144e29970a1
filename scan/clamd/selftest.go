package clamd

import (
	"context"
	"fmt"
	"time"

	"github.com/portcullis-av/portcullis/scan"
)

var _ scan.SelfTester = (*Engine)(nil)

const (
	// staleAfter is the age from which the official database wants a look.
	staleAfter = 48 * time.Hour
	// maxScannable is the largest file that libclamav can be configured to scan.
	maxScannable = 2<<30 - 1
)

// SelfTest tries the settings of clamd that cannot be asked for, each of which
// makes clamd call OK what it has not looked at: whether nesting beyond
// MaxRecursion and encryption are reported, whether malware is found at both ends
// of an archive of exactly limit bytes, and how old the signatures are. It takes
// as long as clamd takes for two objects of that size.
func (e *Engine) SelfTest(ctx context.Context, limit int64) []scan.Finding {
	return append([]scan.Finding{
		e.expect(ctx, "a zip nested too deep is reported", nestedZip(), nested),
		e.expect(ctx, "a zip with a password is reported", encryptedZip(), encrypted),
		e.largest(ctx, "EICAR first in the largest body is found", limit, true),
		e.largest(ctx, "EICAR last in the largest body is found", limit, false),
	}, e.age(ctx, time.Now()))
}

// judged says what is wrong with a verdict, or "" when nothing is.
type judged func(v scan.Verdict) (remedy string)

func (e *Engine) expect(ctx context.Context, probe string, o scan.Object, judge judged) scan.Finding {
	v, err := e.Scan(ctx, o)
	if err != nil {
		return scan.Finding{Probe: probe, Result: err.Error(), Remedy: "see clamd's log"}
	}
	f := scan.Finding{Probe: probe, Result: said(v), Remedy: judge(v)}
	if f.Remedy == "" {
		f.Grade = scan.GradePassed
	}
	return f
}

func said(v scan.Verdict) string {
	text := v.Outcome.String() + " " + string(v.Cause)
	for _, t := range v.Threats {
		text += " " + t
	}
	return text
}

func nested(v scan.Verdict) string {
	if v.Outcome == scan.OutcomeUnscannable && v.Cause == scan.CauseEngineLimit {
		return ""
	}
	return "set AlertExceedsMax yes: clamd calls clean what lies beyond its limits"
}

func encrypted(v scan.Verdict) string {
	if v.Outcome == scan.OutcomePolicy && v.Cause == scan.CauseEncrypted {
		return ""
	}
	return "set AlertEncrypted yes: clamd calls encrypted archives clean"
}

func (e *Engine) largest(ctx context.Context, probe string, limit int64, first bool) scan.Finding {
	if limit > maxScannable {
		return scan.Finding{
			Probe: probe, Result: fmt.Sprintf("not tried: max_body_bytes is %d", limit),
			Remedy: fmt.Sprintf("lower max_body_bytes: clamd cannot scan more than %d bytes", maxScannable),
		}
	}
	return e.expect(ctx, probe, infectedZip(limit, first), func(v scan.Verdict) string {
		switch {
		case v.Outcome == scan.OutcomeInfected:
			return ""
		case v.Cause == scan.CauseTooLarge:
			return fmt.Sprintf("set StreamMaxLength to %d at least, or lower max_body_bytes", limit)
		case v.Cause == scan.CauseEngineLimit:
			return fmt.Sprintf("set MaxFileSize to %d at least, and MaxScanSize to more than twice that, or lower max_body_bytes", limit)
		}
		return fmt.Sprintf("set AlertExceedsMax yes and ScanArchive yes, MaxFileSize to %d at least, and MaxScanSize to more than twice that", limit)
	})
}

// age grades how old the signatures are at a time.
func (e *Engine) age(ctx context.Context, now time.Time) scan.Finding {
	f := scan.Finding{Probe: "the signatures are recent", Grade: scan.GradeDegraded}
	s, err := e.Signatures(ctx)
	switch {
	case err != nil:
		f.Result, f.Remedy = err.Error(), "let clamd answer VERSION, or watch the age of its signatures otherwise"
	case s.Built.IsZero():
		f.Result, f.Remedy = s.Version, "no official database is loaded: run freshclam"
	case now.Sub(s.Built) > staleAfter:
		f.Result, f.Remedy = s.Version, "the signatures are older than two days: see why freshclam does not renew them"
	default:
		f.Result, f.Grade = s.Version, scan.GradePassed
	}
	return f
}
