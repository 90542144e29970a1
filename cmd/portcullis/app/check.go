package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/portcullis-av/portcullis/envoy"
)

type checkCommand struct {
	Config       string `short:"c" placeholder:"FILE" help:"Configuration file to check."`
	Envoy        string `placeholder:"FILE" help:"Envoy configuration to check: bootstrap, config dump, EnvoyFilter or EnvoyExtensionPolicy with its companions (YAML or JSON); - is standard input."`
	EnvoyVersion string `placeholder:"VERSION" help:"The Envoy that will run it, such as 1.40.0; known releases with a bypass are errors. A config dump says it itself."`
	Filter       string `placeholder:"NAME" help:"With --envoy: which ext_proc filter is Portcullis, by its name in http_filters, if there are others. Every one, if not given."`

	Engines bool `help:"Also have every engine prove itself: canaries, and for clamd its limits. Takes some seconds; two calls of a service that bills."`
	JSON    bool `name:"json" help:"Findings about engines or about Envoy's configuration as JSON, one array each."`
}

// Help is shown by --help.
func (checkCommand) Help() string {
	return `Every mistake is printed at once, with its place. Exit 0: nothing is wrong.

Examples:
  portcullis check --config portcullis.yaml
  portcullis check --config portcullis.yaml --engines
  portcullis check --envoy envoy.yaml --envoy-version 1.40.0
  curl -s http://127.0.0.1:9901/config_dump | portcullis check --envoy -
  kubectl get envoyextensionpolicy,clienttrafficpolicy,backendtrafficpolicy -n edge -o yaml | portcullis check --envoy -`
}

// Run checks what it is given.
func (c checkCommand) Run(ctx context.Context, p Process) error {
	if c.Config == "" && c.Envoy == "" && !c.Engines {
		return errors.New("nothing to check: give --config FILE, --envoy FILE or --engines")
	}
	if c.Config != "" || c.Engines {
		if err := c.configuration(ctx, p); err != nil {
			return err
		}
	}
	if c.Envoy == "" {
		return nil
	}
	return c.lint(p)
}

// configuration checks the gate's own; without a file that is the default one.
func (c checkCommand) configuration(ctx context.Context, p Process) error {
	made, err := configFlag{Config: c.Config}.build()
	if err != nil {
		return err
	}
	defer made.close()
	if c.Engines {
		return checkEngines(ctx, made, p.Stdout, c.JSON)
	}
	if !c.JSON {
		fmt.Fprintf(p.Stdout, "%s: ok\n", printable(c.Config))
	}
	return nil
}

// lint prints what is wrong with Envoy's configuration; errors exit 1.
func (c checkCommand) lint(p Process) error {
	text, err := readInput(p, c.Envoy)
	if err != nil {
		return err
	}
	linter := envoy.Linter{}
	if c.Config != "" {
		if linter, err = linterOf(c.Config); err != nil {
			return err
		}
	}
	linter.EnvoyVersion, linter.Filter = c.EnvoyVersion, c.Filter
	findings, err := linter.Lint(text)
	if err != nil {
		return fmt.Errorf("%s: %w", printable(c.Envoy), err)
	}
	if c.JSON {
		if err := printFindings(p.Stdout, findings); err != nil {
			return err
		}
	} else {
		for _, f := range findings {
			fmt.Fprintf(p.Stdout, "%s: %s\n", printable(c.Envoy), printable(f.String()))
		}
		if len(findings) == 0 {
			fmt.Fprintf(p.Stdout, "%s: ok\n", printable(c.Envoy))
		}
	}
	if slices.ContainsFunc(findings, func(f envoy.Finding) bool { return f.Level == envoy.LevelError }) {
		return codeError(exitNotClean)
	}
	return nil
}

// linterOf takes what the linter should know from the gate's own configuration.
func linterOf(file string) (envoy.Linter, error) {
	cfg, err := configFlag{Config: file}.load()
	if err != nil {
		return envoy.Linter{}, err
	}
	m := cfg.Message()
	l := envoy.Linter{
		ReceiveLimit: m.GetLimits().GetMaxReceiveMessageBytes(),
		Exchanges:    int(m.GetLimits().GetMaxExchanges()),
	}
	for _, p := range policiesOf(m) {
		l.ScanTimeout = max(l.ScanTimeout, p.ScanTimeout)
		l.UploadTimeout = max(l.UploadTimeout, p.UploadTimeout)
	}
	return l, nil
}

// maxEnvoyConfig bounds what is read as Envoy configuration; a large config dump
// is some tens of MiB.
const maxEnvoyConfig = 256 << 20

func readInput(p Process, file string) ([]byte, error) {
	content, _, err := openFile(p, file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = content.Close() }()
	return io.ReadAll(io.LimitReader(content, maxEnvoyConfig))
}

// printFindings prints one JSON array with the fields rule, level, path, why and fix.
func printFindings(w io.Writer, findings []envoy.Finding) error {
	type row struct {
		Rule  string `json:"rule"`
		Level string `json:"level"`
		Path  string `json:"path"`
		Why   string `json:"why"`
		Fix   string `json:"fix"`
	}
	rows := []row{}
	for _, f := range findings {
		rows = append(rows, row{f.Rule, string(f.Level), f.Path, f.Why, f.Fix})
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(rows)
}
