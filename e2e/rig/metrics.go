package rig

import (
	"fmt"
	"strconv"
	"strings"
)

// Metrics is one scrape in Prometheus' text format.
type Metrics struct {
	series []series
}

type series struct {
	name   string
	labels map[string]string
	value  float64
}

// ParseMetrics reads the text format; a line it cannot read is an error.
func ParseMetrics(text string) (Metrics, error) {
	var m Metrics
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		s, err := parseSeries(line)
		if err != nil {
			return Metrics{}, fmt.Errorf("metrics line %q: %w", line, err)
		}
		m.series = append(m.series, s)
	}
	return m, nil
}

func parseSeries(line string) (series, error) {
	cut := strings.LastIndexByte(line, ' ')
	if cut < 0 {
		return series{}, fmt.Errorf("no value")
	}
	value, err := strconv.ParseFloat(line[cut+1:], 64)
	if err != nil {
		return series{}, err
	}
	name, rest, labelled := strings.Cut(line[:cut], "{")
	s := series{name: name, labels: map[string]string{}, value: value}
	if !labelled {
		return s, nil
	}
	for rest != "}" {
		key, quoted, ok := strings.Cut(rest, "=")
		if !ok {
			return series{}, fmt.Errorf("label without value")
		}
		prefix, err := strconv.QuotedPrefix(quoted)
		if err != nil {
			return series{}, err
		}
		if s.labels[key], err = strconv.Unquote(prefix); err != nil {
			return series{}, err
		}
		rest = strings.TrimPrefix(quoted[len(prefix):], ",")
	}
	return s, nil
}

// Sum adds up every series of that name whose labels include the pairs given
// ("outcome", "ERROR", ...). No such series is 0: a counter vector has no
// series before its first increment.
func (m Metrics) Sum(name string, pairs ...string) float64 {
	sum := 0.0
	for _, s := range m.series {
		if s.name == name && s.has(pairs) {
			sum += s.value
		}
	}
	return sum
}

func (s series) has(pairs []string) bool {
	for i := 0; i+1 < len(pairs); i += 2 {
		if s.labels[pairs[i]] != pairs[i+1] {
			return false
		}
	}
	return true
}

// Names lists the metric names, each once, in the order of the scrape.
func (m Metrics) Names() []string {
	var names []string
	seen := map[string]bool{}
	for _, s := range m.series {
		if !seen[s.name] {
			seen[s.name] = true
			names = append(names, s.name)
		}
	}
	return names
}
