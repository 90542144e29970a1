package extproc

import (
	"strings"
	"testing"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/gate"
)

// chosen is a Chooser of one policy.
type chosen scan.Policy

func (c chosen) Choose(scan.Attributes, string) (*scan.Policy, error) { return (*scan.Policy)(&c), nil }

// What is written by hand is what the protobuf library reads, also where lengths
// take more than one byte and where texts are an attacker's.
func TestMetadataOnTheWire(t *testing.T) {
	long := strings.Repeat("policy-", 50)
	x := gate.New(gate.Setup{Policies: chosen{Name: long, Enforce: true}}).Begin(t.Context(), gate.Head{}, "")
	verdict := scan.InfectedVerdict("evil\xff\r\nname")
	verdict.Engine = "av"
	for _, d := range []gate.Decision{
		{Covered: true, Action: scan.Pass, Verdict: scan.CleanVerdict()},
		{Covered: true, Action: scan.Block, Verdict: verdict},
	} {
		for _, l := range []scan.Leg{scan.Request, scan.Response} {
			r := headersAnswer(l, nil)
			describe(r, l, x, d)
			wire, err := proto.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			var read extprocv3.ProcessingResponse
			if err := proto.Unmarshal(wire, &read); err != nil {
				t.Fatal(err)
			}
			if len(read.ProtoReflect().GetUnknown()) > 0 {
				t.Errorf("fields that nobody knows: %x", read.ProtoReflect().GetUnknown())
			}
			leg := map[string]any{
				"outcome": d.Verdict.Outcome.String(), "cause": string(d.Verdict.Cause), "action": d.Action.String(),
				"policy": long, "exchange": x.ID(),
			}
			if d.Verdict.Engine != "" {
				leg["engine"], leg["threat"] = "av", scan.SafeThreat("evil\xff\r\nname")
			}
			want := map[string]any{MetadataNamespace: map[string]any{l.String(): leg}}
			if diff := cmp.Diff(want, read.GetDynamicMetadata().AsMap()); diff != "" {
				t.Errorf("%v (-want +got)\n%s", l, diff)
			}
		}
	}
}
