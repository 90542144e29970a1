package scan_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/portcullis-av/portcullis/scan"
)

func failure(k scan.Kind, err error) error { return &scan.Error{Kind: k, Op: "scan", Err: err} }

// The kind is found however an error is wrapped, and ours tells more than the
// context that ended because of it.
func TestKindOf(t *testing.T) {
	ended, cancel := context.WithTimeoutCause(t.Context(), time.Nanosecond, failure(scan.KindOverload, nil))
	defer cancel()
	<-ended.Done()
	for name, c := range map[string]struct {
		err  error
		want scan.Kind
	}{
		"plain":                {failure(scan.KindProtocol, nil), scan.KindProtocol},
		"wrapped twice":        {fmt.Errorf("a: %w", fmt.Errorf("b: %w", failure(scan.KindRefused, nil))), scan.KindRefused},
		"joined":               {errors.Join(io.EOF, failure(scan.KindSpool, nil)), scan.KindSpool},
		"joined, the first":    {errors.Join(failure(scan.KindOverload, nil), failure(scan.KindSpool, nil)), scan.KindOverload},
		"several wrapped":      {fmt.Errorf("%w and %w", io.EOF, failure(scan.KindUnreachable, nil)), scan.KindUnreachable},
		"outermost of ours":    {failure(scan.KindUnreachable, failure(scan.KindTimeout, nil)), scan.KindUnreachable},
		"ours over context":    {failure(scan.KindUnreachable, context.DeadlineExceeded), scan.KindUnreachable},
		"context beside ours":  {errors.Join(context.Canceled, failure(scan.KindRefused, nil)), scan.KindRefused},
		"deadline":             {context.DeadlineExceeded, scan.KindTimeout},
		"deadline wrapped":     {fmt.Errorf("dial: %w", context.DeadlineExceeded), scan.KindTimeout},
		"cancelled":            {context.Canceled, scan.KindCanceled},
		"cancelled wrapped":    {fmt.Errorf("dial: %w", context.Canceled), scan.KindCanceled},
		"a context's cause":    {context.Cause(ended), scan.KindOverload},
		"anything else":        {io.ErrUnexpectedEOF, scan.KindInternal},
		"too large is no kind": {scan.ErrTooLarge, scan.KindInternal},
	} {
		if got := scan.KindOf(c.err); got != c.want {
			t.Errorf("%s: %v is of kind %v, want %v", name, c.err, got, c.want)
		}
	}
}

func kinds() []scan.Kind {
	return []scan.Kind{
		scan.KindInternal, scan.KindUnreachable, scan.KindTimeout, scan.KindCanceled,
		scan.KindProtocol, scan.KindRefused, scan.KindOverload, scan.KindSpool,
	}
}

// Every kind has its word and makes an ERROR with a cause of the closed list.
func TestErrorVerdict(t *testing.T) {
	causes := map[scan.Kind]scan.Cause{
		scan.KindInternal: "internal", scan.KindUnreachable: "engine-unreachable", scan.KindTimeout: "engine-timeout",
		scan.KindCanceled: "internal", scan.KindProtocol: "engine-protocol", scan.KindRefused: "engine-refused",
		scan.KindOverload: "overload", scan.KindSpool: "spool",
	}
	words := map[string]bool{}
	for _, k := range kinds() {
		v := scan.ErrorVerdict(fmt.Errorf("outside: %w", failure(k, io.EOF)))
		if v.Outcome != scan.OutcomeError || v.Cause != causes[k] || v.Detail != "outside: scan: EOF" {
			t.Errorf("kind %v gave %+v", k, v)
		}
		words[k.String()] = true
	}
	if len(words) != len(causes) {
		t.Errorf("two kinds share a word: %v", words)
	}
	if got := scan.Kind(200); got.String() != "Kind(200)" || got.Cause() != scan.CauseInternal {
		t.Errorf("an unknown kind is %v with cause %v", got, got.Cause())
	}
}

// The text says what was being done, with or without an error below.
func TestErrorText(t *testing.T) {
	for want, err := range map[string]error{
		"scan: overload": failure(scan.KindOverload, nil),
		"scan: EOF":      failure(scan.KindOverload, io.EOF),
	} {
		if err.Error() != want {
			t.Errorf("got %q, want %q", err, want)
		}
	}
	if !errors.Is(failure(scan.KindSpool, io.EOF), io.EOF) {
		t.Error("the error below is not found")
	}
}
