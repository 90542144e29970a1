package app

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"slices"
	"strings"
	"time"
)

// step is one request of the tour and what must come back.
type step struct {
	title   string
	method  string
	path    string
	headers map[string]string
	body    []byte
	want    int
}

func tourSteps() []step {
	form, formType := gzipForm(zipOf("invoice.txt", eicar()))
	jsonBody := []byte(`{"name":"report.txt","content":"` + base64.StdEncoding.EncodeToString(append(eicar(), []byte("\n\n")...)) + `"}`)
	return []step{
		{title: "a clean upload", method: "POST", path: "/upload", body: []byte("hello, origin"), want: http.StatusOK},
		{title: "EICAR, the harmless test virus, uploaded", method: "POST", path: "/upload", body: eicar(), want: http.StatusForbidden},
		{
			title: "EICAR in a zip", method: "PUT", path: "/upload", headers: map[string]string{"Content-Type": "application/zip"},
			body: zipOf("invoice.txt", eicar()), want: http.StatusForbidden,
		},
		{
			title: "EICAR in a zip in a gzip-coded form", method: "POST", path: "/upload",
			headers: map[string]string{"Content-Type": formType, "Content-Encoding": "gzip"}, body: form, want: http.StatusForbidden,
		},
		{
			title: "EICAR as base64 in JSON", method: "POST", path: "/upload", headers: map[string]string{"Content-Type": "application/json"},
			body: jsonBody, want: http.StatusForbidden,
		},
		{title: "a clean download", method: "GET", path: "/download/clean", want: http.StatusOK},
		{title: "an infected download", method: "GET", path: "/download/eicar", want: http.StatusForbidden},
	}
}

func zipOf(name string, content []byte) []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.Create(name)
	if err == nil {
		_, err = w.Write(content)
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		panic(err) // a bytes.Buffer takes everything
	}
	return b.Bytes()
}

func gzipForm(file []byte) (body []byte, contentType string) {
	var coded bytes.Buffer
	g := gzip.NewWriter(&coded)
	m := multipart.NewWriter(g)
	part, err := m.CreateFormFile("file", "invoice.zip")
	if err == nil {
		_, err = part.Write(file)
	}
	if err == nil {
		err = m.Close()
	}
	if err == nil {
		err = g.Close()
	}
	if err != nil {
		panic(err) // a bytes.Buffer takes everything
	}
	return coded.Bytes(), m.FormDataContentType()
}

// tour takes every step, prints what came back, and returns how many steps did
// not go as promised.
func (d *demo) tour(ctx context.Context, w io.Writer) (bad int) {
	client := &http.Client{Timeout: 30 * time.Second}
	defer client.CloseIdleConnections()
	for i, s := range tourSteps() {
		before := d.origin.bytes.Load()
		status, text, err := call(ctx, client, d.front, s)
		reached := d.origin.bytes.Load() - before
		if err != nil {
			status, text = 0, err.Error()
		}
		ok := status == s.want && (s.want == http.StatusOK || reached == 0)
		mark := "as promised"
		if !ok {
			bad++
			mark = fmt.Sprintf("NOT AS PROMISED: want %d", s.want)
		}
		fmt.Fprintf(w, "%d. %s\n   %s %s, %d bytes ──> %d (%s)\n", i+1, s.title, s.method, s.path, len(s.body), status, mark)
		if s.method != http.MethodGet {
			fmt.Fprintf(w, "   the origin got %d bytes of it\n", reached)
		}
		fmt.Fprintf(w, "   %s\n", printable(strings.TrimSpace(text)))
	}
	if err := d.latency(ctx, w, client); err != nil {
		fmt.Fprintf(w, "the latency could not be measured: %v\n", err)
		bad++
	}
	return bad
}

func call(ctx context.Context, client *http.Client, address string, s step) (status int, text string, err error) {
	req, err := http.NewRequestWithContext(ctx, s.method, "http://"+address+s.path, bytes.NewReader(s.body))
	if err != nil {
		return 0, "", err
	}
	for k, v := range s.headers {
		req.Header.Set(k, v)
	}
	res, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	return res.StatusCode, string(body), err
}

// latency sends the same clean upload through Envoy with and without the gate,
// in turns, and prints the medians.
func (d *demo) latency(ctx context.Context, w io.Writer, client *http.Client) error {
	s := step{method: "POST", path: "/upload", body: bytes.Repeat([]byte("clean "), 10<<10/6)}
	const rounds, warmUp = 200, 20
	var with, without []time.Duration
	for i := range rounds + warmUp {
		for _, way := range []struct {
			address string
			times   *[]time.Duration
		}{{d.front, &with}, {d.plain, &without}} {
			began := time.Now()
			status, _, err := call(ctx, client, way.address, s)
			if err != nil || status != http.StatusOK {
				return fmt.Errorf("status %d, %w", status, err)
			}
			if i >= warmUp {
				*way.times = append(*way.times, time.Since(began))
			}
		}
	}
	a, b := median(with), median(without)
	fmt.Fprintf(w, "\nA clean upload of 10 KiB takes %s through the gate and %s without it: the gate adds %s (medians of %d).\n",
		a.Round(time.Microsecond), b.Round(time.Microsecond), (a - b).Round(time.Microsecond), rounds)
	return nil
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}
