package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
)

// writePage writes the whole result as a page of the documentation, beside its plot.
func (r *report) writePage(path, plot string) error {
	var b bytes.Buffer
	fmt.Fprint(&b, "# What the gate costs\n\n")
	fmt.Fprint(&b, "`make bench-page` writes this page and its plot; `make bench` prints the same for your machine. ")
	fmt.Fprint(&b, "Client, origin, Envoy and processor share the cores, so rates are low and only ratios compare. ")
	fmt.Fprint(&b, "The null processor answers every message of Envoy's and scans nothing: what is below 1.00 of it is Portcullis's own cost, ")
	fmt.Fprint(&b, "the rest is Envoy's for any external processor. \"Clamd alone\" is the same bodies given to clamd without Envoy or Portcullis. ")
	fmt.Fprint(&b, "In the adaptive profile a null processor never sees a body, so only what is out of scope compares with it.\n\n")
	fmt.Fprint(&b, "## What is promised\n")
	r.writeFigures(&b)
	if plot != "" {
		relative, err := filepath.Rel(filepath.Dir(path), plot)
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "\n## Added latency\n\n![added latency by size of the body](%s)\n", filepath.ToSlash(relative))
	}
	fmt.Fprint(&b, "\n## Without Envoy\n")
	r.writeOwn(&b)
	fmt.Fprint(&b, "\n## Everything\n\n")
	r.writeHead(&b)
	for _, one := range r.Rows {
		writeRow(&b, one)
	}
	if r.Memory != nil {
		r.writeMemory(&b)
	}
	return os.WriteFile(path, b.Bytes(), 0o644) //nolint:gosec // documentation
}
