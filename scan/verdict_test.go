package scan_test

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/portcullis-av/portcullis/scan"
)

// The worse verdict decides; of two equally bad ones the first, so that which
// engine is named does not depend on chance.
func TestWorst(t *testing.T) {
	for _, a := range append(scan.Outcomes(), scan.OutcomeUndecided) {
		for _, b := range append(scan.Outcomes(), scan.OutcomeUndecided) {
			want := "a"
			if b.WorseThan(a) {
				want = "b"
			}
			got := scan.Worst(scan.Verdict{Outcome: a, Engine: "a"}, scan.Verdict{Outcome: b, Engine: "b"})
			if got.Engine != want {
				t.Errorf("worst of %v and %v is %s, want %s", a, b, got.Engine, want)
			}
		}
	}
}

// A verdict that nobody filled in beats CLEAN.
func TestNobodysVerdictIsNotClean(t *testing.T) {
	var nobody scan.Verdict
	if got := scan.Worst(scan.CleanVerdict(), nobody); got.Outcome == scan.OutcomeClean {
		t.Errorf("got %v", got)
	}
	if got := scan.Worst(nobody, scan.CleanVerdict()); got.Outcome == scan.OutcomeClean {
		t.Errorf("got %v", got)
	}
}

func TestSafeThreat(t *testing.T) {
	long := strings.Repeat("a", 128)
	for _, same := range []string{"Eicar", "Win.Test.EICAR_HDB-1", "a:b", "0", long} {
		if got := scan.SafeThreat(same); got != same {
			t.Errorf("%q became %q", same, got)
		}
	}
	for _, bad := range []string{
		"", long + "a", "two words", "a\r\nSet-Cookie: x=1", "<script>", "a/b", "a,b", "ü", "\x00", "a\n", "%0a", "\xff",
	} {
		if got := scan.SafeThreat(bad); got != "unnamed-threat" {
			t.Errorf("%q became %q", bad, got)
		}
	}
}

// Many names that become the same one are said once.
func TestSafeThreatsRepeatNothing(t *testing.T) {
	got := scan.SafeThreats([]string{"b", "a b", "a", "c d", "b"})
	if diff := cmp.Diff([]string{"b", "unnamed-threat", "a"}, got); diff != "" {
		t.Error(diff)
	}
	if got := scan.SafeThreats(nil); got != nil {
		t.Errorf("no name became %q", got)
	}
}

// Whatever an engine says, what leaves is short, of safe bytes only, and stays
// as it is when it passes through again.
func FuzzSafeThreat(f *testing.F) {
	for _, s := range []string{"", "Eicar", "a b", "\r\n", strings.Repeat("x", 129), "é", "\xff\x00"} {
		f.Add(s)
	}
	const safe = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:-"
	f.Fuzz(func(t *testing.T, name string) {
		got := scan.SafeThreat(name)
		if got == "" || len(got) > 128 || !utf8.ValidString(got) || strings.Trim(got, safe) != "" {
			t.Fatalf("%q became %q", name, got)
		}
		if again := scan.SafeThreat(got); again != got {
			t.Fatalf("%q became %q, and that %q", name, got, again)
		}
		if !slices.Equal(scan.SafeThreats([]string{name, name}), []string{got}) {
			t.Fatalf("SafeThreats and SafeThreat differ about %q", name)
		}
	})
}
