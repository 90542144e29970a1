package icap

import (
	"maps"
	"slices"
	"testing"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/scantest"
)

// TestMassReplies: of spoilt answers, only those are CLEAN that an independent
// reading finds to be proofs of what was asked.
func TestMassReplies(t *testing.T) {
	t.Parallel()
	var corpus [][]byte
	for _, raw := range slices.Sorted(maps.Keys(clean)) {
		corpus = append(corpus, []byte(raw))
	}
	for _, raw := range []string{
		respEcho, reqEcho, "ICAP/1.0 200 OK\r\n" + page, "ICAP/1.0 100 Continue\r\n\r\nICAP/1.0 204 x\r\n\r\n",
		"ICAP/1.0 200 OK\r\nX-Infection-Found: Type=0; Resolution=2; Threat=a;\r\n" + page, "ICAP/1.0 500 Server error\r\n\r\n",
		"ICAP/1.0 204 No\r\nX-Virus-ID: a\r\n\r\n", "ICAP/1.0 206 Partial\r\nEncapsulated: res-hdr=0, res-body=27\r\n\r\n",
	} {
		corpus = append(corpus, []byte(raw))
	}
	next, proven := scantest.Mutations(3, corpus...), 0
	for i := range scantest.MassRuns {
		raw := string(next())
		a := askedFor(respmod)
		if i&16 != 0 {
			a.method = reqmod
		}
		a.allow204, a.preview, a.whole, a.acceptEcho = i&1 != 0, i&2 != 0, i&4 != 0, i&8 != 0
		ans, err := judge(raw, a)
		if ans.verdict.Outcome == scan.OutcomeClean && (err != nil || !proves(raw, a)) {
			t.Fatalf("%q is CLEAN to %+v, error %v", raw, a, err)
		}
		if err == nil && ans.verdict.Outcome == scan.OutcomeUndecided && !ans.goOn {
			t.Fatalf("%q: neither verdict nor error", raw)
		}
		if ans.verdict.Outcome == scan.OutcomeClean {
			proven++
		}
	}
	t.Logf("%d answers, %d of them proofs, no false CLEAN", scantest.MassRuns, proven)
}
