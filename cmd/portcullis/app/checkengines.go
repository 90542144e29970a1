package app

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/fleet"
)

// maxSelfTest bounds all self tests together; a clamd takes some seconds for two
// bodies of 100 MiB.
const maxSelfTest = 5 * time.Minute

// checkEngines has every engine of a configuration prove itself and prints what
// came of it. Exit 1 when one failed; what is only degraded is no failure.
func checkEngines(ctx context.Context, p *parts, w io.Writer, asJSON bool) error {
	ctx, cancel := context.WithTimeout(ctx, maxSelfTest)
	defer cancel()
	tested := make([][]fleet.InstanceFindings, len(p.fleets))
	var tests sync.WaitGroup
	for i, f := range p.fleets {
		tests.Go(func() { tested[i] = f.SelfTest(ctx, largestBody(p.policies, f.Name())) })
	}
	tests.Wait()
	var rows []findingRow
	for i, f := range p.fleets {
		for _, instance := range tested[i] {
			for _, found := range instance.Findings {
				rows = append(rows, findingRow{
					f.Name(), instance.Label, found.Probe, found.Grade.String(), found.Result, found.Remedy,
				})
			}
		}
	}
	if err := printRows(w, rows, asJSON); err != nil {
		return err
	}
	if slices.ContainsFunc(rows, func(r findingRow) bool { return r.Grade == scan.GradeFailed.String() }) {
		return codeError(exitNotClean)
	}
	return nil
}

// largestBody is the largest body that any policy gives an engine.
func largestBody(policies []scan.Policy, engine string) int64 {
	largest := int64(0)
	for _, p := range policies {
		if slices.Contains(p.Engines, engine) && (p.ScanRequest || p.ScanResponse) {
			largest = max(largest, p.MaxBodyBytes)
		}
	}
	return largest
}

// findingRow is one line of the table; the JSON form is an interface.
type findingRow struct {
	Engine   string `json:"engine"`
	Instance string `json:"instance"`
	Probe    string `json:"probe"`
	Grade    string `json:"grade"`
	Result   string `json:"result"`
	Remedy   string `json:"remedy"`
}

func printRows(w io.Writer, rows []findingRow, asJSON bool) error {
	if asJSON {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(rows)
	}
	const gap = 2
	table := tabwriter.NewWriter(w, 0, 0, gap, ' ', 0)
	fmt.Fprintln(table, "ENGINE\tINSTANCE\tPROBE\tGRADE\tRESULT\tWHAT TO DO")
	for _, r := range rows {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n",
			printable(r.Engine), printable(r.Instance), r.Probe, r.Grade, printable(r.Result), orDash(printable(r.Remedy)))
	}
	return table.Flush()
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
