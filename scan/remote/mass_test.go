package remote

import (
	"crypto/sha256"
	"encoding/hex"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/scantest"
	"github.com/portcullis-av/portcullis/scan/scanv1"
)

// good is the proof that an object is clean, and the object.
func good() (*scanv1.ScanResponse, scan.Object) {
	o := scan.Object{Size: 1234, SHA256: sha256.Sum256([]byte("the object"))}
	return &scanv1.ScanResponse{
		Outcome: scanv1.Outcome_OUTCOME_CLEAN, Cause: "scanned", Engine: "clamav", Signatures: "27500", Object: "body",
		Size: o.Size, Sha256: hex.EncodeToString(o.SHA256[:]), Action: scanv1.Action_ACTION_PASS, Policy: "default",
	}, o
}

// proves reads a response anew: it must say CLEAN, of this very object, and name
// no threat.
func proves(r *scanv1.ScanResponse, o scan.Object) bool {
	return r.GetOutcome() == scanv1.Outcome_OUTCOME_CLEAN && r.GetCause() == "scanned" && len(r.GetThreats()) == 0 &&
		r.GetSize() == o.Size && r.GetSha256() == hex.EncodeToString(o.SHA256[:])
}

// judged holds bytes from the wire to what they prove, and reports whether they are CLEAN.
func judged(t *testing.T, raw []byte, o scan.Object) bool {
	t.Helper()
	var r scanv1.ScanResponse
	if proto.Unmarshal(raw, &r) != nil {
		return false // gRPC ends the call with an error
	}
	v, err := judge(&r, o)
	if (v.Outcome == scan.OutcomeClean) != proves(&r, o) || (err == nil) == (v.Outcome == scan.OutcomeUndecided) {
		t.Fatalf("%x: %+v, %v", raw, v, err)
	}
	return v.Outcome == scan.OutcomeClean
}

// TestTruncatedResponses: no beginning of a response that lacks a part of the
// proof is CLEAN.
func TestTruncatedResponses(t *testing.T) {
	r, o := good()
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if !judged(t, raw, o) {
		t.Fatal("the whole response is not CLEAN")
	}
	for n := range raw {
		judged(t, raw[:n], o)
	}
}

// TestMassReplies: of spoilt responses, only those are CLEAN that still are proofs.
func TestMassReplies(t *testing.T) {
	t.Parallel()
	r, o := good()
	bad := proto.CloneOf(r)
	bad.Outcome, bad.Cause, bad.Threats = scanv1.Outcome_OUTCOME_INFECTED, "malware", []string{"Eicar"}
	failed := &scanv1.ScanResponse{Outcome: scanv1.Outcome_OUTCOME_ERROR, Cause: "engine-timeout", Size: o.Size}
	other := proto.CloneOf(r)
	other.Sha256 = hex.EncodeToString(make([]byte, 32))
	var corpus [][]byte
	for _, m := range []*scanv1.ScanResponse{r, bad, failed, other} {
		raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		corpus = append(corpus, raw)
	}
	next, clean := scantest.Mutations(4, corpus...), 0
	for range scantest.MassRuns {
		if judged(t, next(), o) {
			clean++
		}
	}
	t.Logf("%d responses, %d of them proofs, no false CLEAN", scantest.MassRuns, clean)
}
