package gate_test

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/gate"
)

// pathsOf says of each object of a tree where it is and what became of it.
func pathsOf(t gate.Tree) []string {
	var all []string
	for _, o := range t.Objects {
		word := o.Verdict.Outcome.String()
		if o.Verdict.Outcome == scan.OutcomeUndecided {
			word = "not asked"
		}
		all = append(all, o.Path+" "+word)
	}
	return all
}

// An explained object has a tree of everything in it, in the order in which things
// stand in each other, and every engine's word about each, also behind malware.
// What the unwrapping found wrong stands where it was found.
func TestExplain(t *testing.T) {
	r := newRig()
	all := finds("body/zip[10]", "body/zip[2]", "body/zip[2]/gzip", "body/part[0]")
	r.unwrap = func(ctx context.Context, o scan.Object, found func(scan.Object)) (scan.Verdict, io.Closer) {
		_, closer := all(ctx, o, found)
		return scan.Verdict{Outcome: scan.OutcomeUnscannable, Cause: scan.CauseMalformedBody, Object: "body/zip[2]/gzip/tar[0]"}, closer
	}
	r.engines["av"] = engine(func(_ context.Context, o scan.Object) (scan.Verdict, error) {
		if o.Path == "body/zip[10]" {
			return scan.InfectedVerdict("Eicar"), nil
		}
		return scan.CleanVerdict(), nil
	})
	got, err := r.single(t, gate.Single{Explain: true}, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"body CLEAN", "body/part[0] CLEAN", "body/zip[2] CLEAN", "body/zip[2]/gzip UNSCANNABLE", "body/zip[10] INFECTED"}
	if diff := cmp.Diff(want, pathsOf(got.Tree)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for _, o := range got.Tree.Objects {
		if o.Type == "" || o.Size == 0 || o.SHA256 == [32]byte{} {
			t.Errorf("%+v", o)
		}
	}
}

// An exchange's record lists a bounded number of objects, what is bad among them
// first; that of a clean one lists none.
func TestTreeIsBounded(t *testing.T) {
	var paths []string
	for i := range 100 {
		paths = append(paths, fmt.Sprintf("body/part[%d]", i))
	}
	for _, bad := range []string{"body/part[77]", ""} {
		r := newRig()
		r.unwrap = finds(paths...)
		r.engines["av"] = engine(func(_ context.Context, o scan.Object) (scan.Verdict, error) {
			if o.Path == bad {
				return scan.Verdict{Outcome: scan.OutcomePolicy, Cause: scan.CauseMacro}, nil
			}
			return scan.CleanVerdict(), nil
		})
		got, err := r.single(t, gate.Single{}, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		listed := pathsOf(got.Tree)
		if bad == "" {
			if len(listed) != 0 {
				t.Errorf("a clean body lists %q", listed)
			}
			continue
		}
		if len(listed) != 16 || got.Tree.Omitted != 85 || listed[0] != "body CLEAN" || !slices.Contains(listed, bad+" POLICY") {
			t.Errorf("%d omitted, listed %q", got.Tree.Omitted, listed)
		}
	}
}

// What was not asked about, since malware was found, is said to be so.
func TestTreeTellsWhatWasNotAsked(t *testing.T) {
	r := newRig()
	var paths []string
	for i := range 50 {
		paths = append(paths, fmt.Sprintf("body/part[%d]", i))
	}
	r.unwrap = finds(paths...)
	r.engines["av"] = engine(func(ctx context.Context, o scan.Object) (scan.Verdict, error) {
		if o.Path == "body" {
			return scan.InfectedVerdict("Eicar"), nil
		}
		<-ctx.Done()
		return scan.Verdict{}, &scan.Error{Kind: scan.KindCanceled, Op: "scan", Err: io.EOF}
	})
	got, err := r.single(t, gate.Single{}, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if listed := pathsOf(got.Tree); len(listed) != 16 || listed[0] != "body INFECTED" || listed[1] != "body/part[0] not asked" {
		t.Errorf("listed %q", listed)
	}
}
