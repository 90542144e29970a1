package chart_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/portcullis-av/portcullis/e2e/rig"
	"github.com/portcullis-av/portcullis/scan/clamd/clamdtest"
)

const monitored = "clamd-sidecar" // the set of values with alerts and dashboard

func promtool(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil {
		missing(t, "promtool is not installed; e2e/install fetches it")
	}
	return path
}

// alertRules writes the groups of the rendered PrometheusRule as Prometheus' own file.
func alertRules(t *testing.T, all []object) (file, content string) {
	t.Helper()
	rules := ofKind(all, "PrometheusRule")
	if len(rules) != 1 {
		t.Fatalf("%d PrometheusRules", len(rules))
	}
	text, err := yaml.Marshal(at(rules[0], "spec"))
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "rules.yaml")
	write(t, file, string(text))
	return file, string(text)
}

// The alerts are ones that Prometheus takes, and they fire when they should and
// at no other time.
func TestAlerts(t *testing.T) {
	t.Parallel()
	binary := promtool(t)
	file, rules := alertRules(t, rendered(t, monitored))
	if _, err := run(t, binary, "check", "rules", file); err != nil {
		t.Error(err)
	}
	// 40 GiB and 24 hours, as the values say, and the values' label on each.
	for _, want := range []string{"/ 42949672960 > 0.8", "> 24 * 3600"} {
		if !strings.Contains(rules, want) {
			t.Errorf("the rules lack %q", want)
		}
	}
	if alerts, labels := strings.Count(rules, "alert: "), strings.Count(rules, "team: platform"); alerts < 10 || alerts != labels {
		t.Errorf("%d alerts, %d with the label", alerts, labels)
	}
	if _, err := run(t, binary, "check", "rules", filepath.Join(chartDir, "files/alerts.yaml")); err != nil {
		t.Error(err)
	}
	// The cases are for the file as it is shipped, whose figures are the defaults.
	cases, err := filepath.Abs("testdata/alerts_test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := run(t, binary, "test", "rules", cases); err != nil {
		t.Error(err)
	}
}

// Every alert has a case in which it fires.
func TestEveryAlertHasACase(t *testing.T) {
	t.Parallel()
	var cases struct {
		Tests []struct {
			Rules []struct {
				Name   string `yaml:"alertname"`
				Alerts []any  `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		}
	}
	readYAML(t, "testdata/alerts_test.yaml", &cases)
	fires, silent := map[string]bool{}, map[string]bool{}
	for _, c := range cases.Tests {
		for _, r := range c.Rules {
			if len(r.Alerts) > 0 {
				fires[r.Name] = true
			} else {
				silent[r.Name] = true
			}
		}
	}
	var shipped struct {
		Groups []struct{ Rules []struct{ Alert string } }
	}
	readYAML(t, filepath.Join(chartDir, "files/alerts.yaml"), &shipped)
	for _, g := range shipped.Groups {
		for _, r := range g.Rules {
			if !fires[r.Alert] || !silent[r.Alert] {
				t.Errorf("%s: a case in which it fires: %v, in which it does not: %v", r.Alert, fires[r.Alert], silent[r.Alert])
			}
		}
	}
}

var (
	metricName = regexp.MustCompile(`\b(?:portcullis|grpc_server|process|go)_[a-z_]+[a-z]\b`)
	labelName  = regexp.MustCompile(`[{,(]\s*([a-z_]+)\s*(?:=~|!~|!=|=)"`)
)

// Alerts and dashboard ask for metrics and labels that the program has.
func TestMonitoringAsksForWhatThereIs(t *testing.T) {
	t.Parallel()
	all := rendered(t, monitored)
	live, labels := liveMetrics(t)
	_, rules := alertRules(t, all)
	dashboard := data(all, "portcullis-dashboard", "portcullis.json")
	for name, text := range map[string]string{"alerts": rules, "dashboard": dashboard} {
		asked := 0
		for _, e := range expressions(t, name, text) {
			for _, m := range metricName.FindAllString(e, -1) {
				asked++
				if !slices.Contains(live, m) {
					t.Errorf("%s: the program has no metric %s: %s", name, m, e)
				}
			}
			for _, l := range labelName.FindAllStringSubmatch(e, -1) {
				if !slices.Contains(append(labels, "job", "namespace", "pod"), l[1]) {
					t.Errorf("%s: no metric has the label %s: %s", name, l[1], e)
				}
			}
		}
		if asked < 15 {
			t.Errorf("%s: only %d metrics are asked for", name, asked)
		}
	}
}

// expressions are what Prometheus is asked by alerts (YAML) or panels (JSON).
func expressions(t *testing.T, name, text string) []string {
	t.Helper()
	var tree any
	var err error
	if name == "dashboard" {
		err = json.Unmarshal([]byte(text), &tree)
	} else {
		err = yaml.Unmarshal([]byte(text), &tree)
	}
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	var found []string
	var walk func(any)
	walk = func(n any) {
		switch n := n.(type) {
		case map[string]any:
			for k, v := range n {
				if s, ok := v.(string); ok && (k == "expr" || k == "query") {
					found = append(found, s)
				}
				walk(v)
			}
		case []any:
			for _, v := range n {
				walk(v)
			}
		}
	}
	walk(tree)
	return found
}

// liveMetrics are the names of all series and labels of a gate that has Redis,
// a clamd, and a verdict behind it.
func liveMetrics(t *testing.T) (names, labels []string) {
	t.Helper()
	clamd := clamdtest.Start(t, clamdtest.Options{Version: "ClamAV 1.4.6/27500/Sun Nov 22 08:26:11 2026"})
	door, admin := freeAddress(t), freeAddress(t)
	config := filepath.Join(t.TempDir(), "portcullis.yaml")
	write(t, config, fmt.Sprintf("listen: {extproc: %q, admin: %q}\ncache: {redis: {address: \"127.0.0.1:1\"}}\ndrain: {grace: 0s}\n"+
		"engines: [{name: clamav, clamd: {addresses: [%q]}}]\n", door, admin, clamd.Address()))
	startGate(t, config)
	await(t, func() string {
		if out, code := portcullis(t, "probe", "--extproc", door); code != 0 {
			return "no verdict: " + out
		}
		return ""
	})
	text := get(t, "http://"+admin+"/metrics")
	m, err := rig.ParseMetrics(text)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range regexp.MustCompile(`[{,]([a-z_]+)="`).FindAllStringSubmatch(text, -1) {
		labels = append(labels, l[1])
	}
	return m.Names(), labels
}

func freeAddress(t *testing.T) string {
	t.Helper()
	address, err := rig.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	return address
}

func get(t *testing.T, url string) string {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	res, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, error %v", url, res.Status, err)
	}
	return string(text)
}
