package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// elsewhere are cases that tests of their own prove, which are no part of a loop
// over faults: in their rows the table says where.
func elsewhere() [][5]string {
	return [][5]string{
		{"F-02", "SYN black hole", "clamd, icap, cloudmersive", "scan/icap TestBlackHole", "a full backlog drops SYNs as well"},
		{"F-07", "every cut of every reply", "clamd", "scan/clamd TestParseReplyCut, scan/clamd TestCutReply", "0 false CLEAN"},
		{"F-07", "every cut of every reply", "cloudmersive", "scan/cloudmersive TestJudgeTruncated", "0 false CLEAN"},
		{"F-07", "every cut of every reply", "icap", "scan/icap TestCutAnswers", "0 false CLEAN"},
		{"F-07", "every cut of every reply", "remote", "scan/remote TestTruncatedResponses", "0 false CLEAN"},
		{"F-08", "260,000 spoilt replies each", "all", "scan/clamd TestMassReplies, scan/cloudmersive TestMassReplies, scan/icap TestMassReplies, scan/remote TestMassReplies", "0 false CLEAN"},
		{"F-15", "a scan that never ends", "all", "scan/fleet TestPoisonBodyOverRequests, scan/fleet TestCancelledScanCounts", "slot counted until it ends"},
		{"F-20", "one of three 2 s slower, exact ratio", "all", "scan/fleet TestGrayFailure", "p99 on a clock of its own"},
		{"F-23", "client leaves at each step", "-", "e2e TestClientLeaves", "nothing left"},
		{"F-24", "GOAWAY, RST_STREAM amid a body", "-", "e2e TestClientLeaves, extproc TestLeaving", "as above: a client that leaves is a RST_STREAM to us"},
		{"F-25", "kill -9 of Portcullis", "-", "e2e TestKilledBefore, e2e TestKilledDuringUpload, e2e TestHurtDuringScan", "every profile: nothing passes"},
		{"F-27", "BUFFERED limit -1, 0, +1", "-", "e2e TestGate", "413 beyond it, subtest limit"},
		{"F-28", "scan slower than Envoy's timer", "-", "e2e TestEnvoysTimeout, envoy TestTimersOutlastPortcullis", "0 x 504 with the shipped configuration"},
		{"F-29", "second end, trailers after the end, body after the end", "-", "extproc TestAfterTheEndNothingChanges, extproc TestTrailersEndABody", "one verdict, one emission"},
		{"F-30", "messages in no lawful order", "-", "extproc TestUnlawfulOrder, extproc FuzzMachine", "an error, never OK"},
		{"F-32", "1,000 uploads at 1 B/s", "-", "e2e TestSlowUploads", "64 KiB each; 10,000 would take the client's ports"},
		{"F-33", "client does not read", "-", "e2e TestClientLeaves", "Envoy takes it, Portcullis is free"},
		{"F-34", "EIO: what was kept cannot be read back", "-", "scan/gate TestSealFails, extproc TestChangedInTheSpool", "refused, or aborted"},
		{"F-35", "100 x 10 MiB at once", "-", "e2e TestCrowdInMemory, e2e TestFullSpoolSheds", "shed above the budget"},
		{"F-36", "panic in a decoder or an engine", "all", "cmd/portcullis/app TestPanicInADecoder, scan/gate TestUnwrapperPanics, scan/cache TestPanic, scan/fleet TestPanic", "that exchange ERROR, the process lives"},
		{"F-38", "clock jumps", "-", "cmd/portcullis/app TestNoWallClockDecides, scan/cache TestTTL", "durations come from the monotonic clock"},
		{"F-39", "retry_policy with streaming modes", "-", "envoy TestLintFinds", "the linter refuses it, L20"},
		{"F-40", "collector of traces hangs, refuses, drops packets", "-", "cmd/portcullis/app TestDeafCollector", "no exchange waits, spans are dropped and counted"},
		{"F-41", "upgrade, WebSocket", "-", "e2e TestGate", "answered at once, subtest upgrade"},
		{"F-42", "origin answers early or resets; Envoy's own answers", "-", "e2e TestOriginLeaves, e2e TestStubbornOrigin, extproc TestLocalReply", "no stuck stream"},
	}
}

// Every case of the list, F-01 to F-44, is proven by a test that there is.
func TestFaultMatrix(t *testing.T) {
	t.Parallel()
	sources := map[string]string{} // by folder
	read := func(dir string) string {
		if text, ok := sources[dir]; ok {
			return text
		}
		files, err := filepath.Glob(filepath.Join("..", filepath.FromSlash(dir), "*_test.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s has no tests, %v", dir, err)
		}
		var all strings.Builder
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			all.Write(text)
		}
		sources[dir] = all.String()
		return sources[dir]
	}
	for _, row := range elsewhere() {
		for name := range strings.SplitSeq(row[3], ", ") {
			dir, test, _ := strings.Cut(name, " ")
			if !strings.Contains(read(dir), "\nfunc "+test+"(") {
				t.Errorf("%s: %s has no %s", row[0], dir, test)
			}
		}
		faultRows.add(row[0], row[1], row[2], "-", row[4]+": "+row[3])
	}
	named := regexp.MustCompile(`["{](F-\d\d)["]`)
	found := map[string]bool{}
	for _, m := range named.FindAllStringSubmatch(read("e2e"), -1) {
		found[m[1]] = true
	}
	for n := 1; n <= 44; n++ {
		if id := fmt.Sprintf("F-%02d", n); !found[id] {
			t.Errorf("%s is no test's", id)
		}
	}
}
