package e2e_test

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/portcullis-av/portcullis/e2e/rig"
	"github.com/portcullis-av/portcullis/scan/clamd/clamdtest"
	"github.com/portcullis-av/portcullis/scan/scanv1"
)

// metricName is one of ours, or of the gRPC server's; those of Go and of the
// process are not documented one by one.
var metricName = regexp.MustCompile(`\b(?:portcullis|grpc_server)_[a-z_]+[a-z]\b`)

// responseDetails are what Envoy's access log calls a refusal; no metric.
var responseDetails = regexp.MustCompile(`^portcullis_(?:infected|policy|unscannable|error)_`)

// Every metric of the running binary is in the docs, with its labels, and every
// metric in the docs is in the binary.
func TestDocsMetrics(t *testing.T) {
	t.Parallel()
	live := liveMetrics(t)
	operations, readme := docPage(t, "docs/operations.md"), docPage(t, "README.md")
	table := func(p *page) map[string]string {
		rows := map[string]string{}
		for _, tb := range p.tables() {
			for _, row := range tb.rows {
				if name, ok := tb.cell(row, "metric"); ok {
					rows[strings.Trim(name, "`")] = row[1]
				}
			}
		}
		return rows
	}
	described := table(operations)
	for name, labels := range live {
		text, ok := described[name]
		if !ok {
			t.Errorf("docs/operations.md lacks the metric %s", name)
			continue
		}
		if strings.Contains(text, "the same") {
			continue // as the row above it says
		}
		for _, label := range labels {
			if !strings.Contains(text, "`"+label+"`") {
				t.Errorf("docs/operations.md lacks the label %s of %s", label, name)
			}
		}
	}
	short := table(readme)
	for name := range live {
		if _, ok := short[name]; !ok && strings.HasPrefix(name, "portcullis_") {
			t.Errorf("README.md lacks the metric %s", name)
		}
	}
	for _, p := range docPages(t) {
		for i, line := range p.lines {
			for _, name := range metricName.FindAllString(line, -1) {
				if _, ok := live[name]; !ok && !responseDetails.MatchString(name) {
					t.Errorf("%s:%d: the binary has no metric %s", p.name, i+1, name)
				}
			}
		}
	}
}

// liveMetrics are the metrics of a gate that has done a bit of everything, each
// with its labels.
func liveMetrics(t *testing.T) map[string][]string {
	t.Helper()
	clamd := clamdtest.Start(t, clamdtest.Options{Version: "ClamAV 1.4.6/27500/Sun Nov 22 08:26:11 2026"})
	// Nobody listens there: the metrics of Redis and of traces are there all the same.
	p := startPortcullis(t, rig.PortcullisOptions{Config: "cache: {redis: {address: \"127.0.0.1:1\"}}\ntracing: {otlp: {address: \"127.0.0.1:1\"}}\nengines: [{name: clamav, clamd: {addresses: [\"" + clamd.Address() + "\"]}}]\n"})
	scanOne(t, p.ExtProc)
	text, err := p.Get("/metrics")
	if err != nil {
		t.Fatal(err)
	}
	kind, series := regexp.MustCompile(`(?m)^# TYPE (\S+) (\S+)$`), regexp.MustCompile(`(?m)^([a-z_]+)\{(.*)\} `)
	label := regexp.MustCompile(`([a-z_]+)="`)
	found := map[string][]string{}
	for _, m := range kind.FindAllStringSubmatch(text, -1) {
		if metricName.MatchString(m[1]) {
			found[m[1]] = nil
		}
	}
	for _, m := range series.FindAllStringSubmatch(text, -1) {
		name := m[1]
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			if base := strings.TrimSuffix(name, suffix); base != name && hasKey(found, base) {
				name = base
			}
		}
		for _, l := range label.FindAllStringSubmatch(m[2], -1) {
			if hasKey(found, name) && l[1] != "le" && !slices.Contains(found[name], l[1]) {
				found[name] = append(found[name], l[1])
			}
		}
	}
	if len(found) < 15 {
		t.Fatalf("%d metrics found in:\n%s", len(found), text)
	}
	return found
}

func hasKey(m map[string][]string, key string) bool {
	_, ok := m[key]
	return ok
}

// scanOne has one object scanned through ScanService.
func scanOne(t *testing.T, address string) {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	stream, err := scanv1.NewScanServiceClient(conn).Scan(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&scanv1.ScanRequest{Chunk: []byte("clean")}); err != nil {
		t.Fatal(err)
	}
	if r, err := stream.CloseAndRecv(); err != nil || r.GetOutcome() != scanv1.Outcome_OUTCOME_CLEAN {
		t.Fatalf("%v, error %v", r, err)
	}
}
