package clamd

import (
	"maps"
	"slices"
	"testing"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/scantest"
)

// TestMassReplies: of spoilt replies, no other one than the exact form is CLEAN.
func TestMassReplies(t *testing.T) {
	t.Parallel()
	var corpus [][]byte
	for _, raw := range sortedKeys(verdicts) {
		corpus = append(corpus, []byte(raw))
	}
	for _, raw := range sortedKeys(failures) {
		corpus = append(corpus, []byte(raw))
	}
	next, clean := scantest.Mutations(1, corpus...), 0
	for range scantest.MassRuns {
		raw := next()
		v, err := parseReply(raw)
		proof := string(raw) == "stream: OK\x00"
		if (v.Outcome == scan.OutcomeClean) != proof || (err == nil) == (v.Outcome == scan.OutcomeUndecided) {
			t.Fatalf("%q: %+v, %v", raw, v, err)
		}
		if proof {
			clean++
		}
	}
	t.Logf("%d replies, %d of them proofs, no false CLEAN", scantest.MassRuns, clean)
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
