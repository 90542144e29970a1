package cloudmersive

import (
	"net/http"
	"testing"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/scantest"
)

// TestMassReplies: of spoilt replies, only those are CLEAN that an independent
// reading finds to be proofs.
func TestMassReplies(t *testing.T) {
	t.Parallel()
	var corpus [][]byte
	for _, text := range []string{
		`{"CleanResult":true,"FoundViruses":null}`,
		`{"CleanResult": false, "FoundViruses": [{"FileName": "a.txt", "VirusName": "Eicar"}]}`,
		`{"CleanResult":true,"CleanResult":false}`,
		`{"CleanResult":"true","FoundViruses":[]}`,
		`{"cleanResult":true}`,
		`{"\u0043leanResult":true}`,
		`{"CleanResult":null,"ContainsMacros":true,"VerifiedFileFormat":".docx"}`,
		`{"CleanResult":true,"ContainsExecutable":false,"ContentInformation":{"ContainsJSON":true,"Hash_SHA1":"x"}}`,
		`<html>CleanResult: true</html>`, `[]`, `true`, ``,
	} {
		corpus = append(corpus, []byte(text))
	}
	next, clean := scantest.Mutations(2, corpus...), 0
	for i := range scantest.MassRuns {
		body, status := next(), http.StatusOK
		if i%16 == 0 {
			status = []int{201, 204, 301, 304, 400, 413, 500}[i/16%7]
		}
		v, err := judge(status, http.Header{}, body, nil)
		if (err == nil) == (v.Outcome == scan.OutcomeUndecided) {
			t.Fatalf("%d %q: %+v, %v", status, body, v, err)
		}
		if v.Outcome != scan.OutcomeClean {
			continue
		}
		if why := notAProof(status, body); why != "" {
			t.Fatalf("CLEAN although %s: %d %q", why, status, body)
		}
		clean++
	}
	t.Logf("%d replies, %d of them proofs, no false CLEAN", scantest.MassRuns, clean)
}
