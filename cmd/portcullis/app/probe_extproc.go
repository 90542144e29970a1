package app

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	modev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// uploadExtProc sends one body to Portcullis as an Envoy with the duplex profile
// does, and waits until it comes back whole or is answered.
func (c probeCommand) uploadExtProc(ctx context.Context, body []byte) (uploaded, error) {
	creds, err := c.credentials()
	if err != nil {
		return uploaded{}, err
	}
	conn, err := grpc.NewClient("passthrough:///"+c.ExtProc, grpc.WithTransportCredentials(creds), grpc.WithAuthority(c.authority()),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) { return dialer(address)(ctx, "", "") }))
	if err != nil {
		return uploaded{}, err
	}
	defer func() { _ = conn.Close() }()
	stream, err := extprocv3.NewExternalProcessorClient(conn).Process(ctx)
	if err != nil {
		return uploaded{}, fmt.Errorf("ask %s: %w", c.ExtProc, err)
	}
	for _, m := range asEnvoy(body) {
		if err := stream.Send(m); err != nil {
			break // the reason is what Recv returns
		}
	}
	var back bytes.Buffer
	for {
		m, err := stream.Recv()
		if err != nil {
			return uploaded{}, fmt.Errorf("ask %s: %w", c.ExtProc, err)
		}
		if refusal := m.GetImmediateResponse(); refusal != nil {
			return uploaded{status: int(refusal.GetStatus().GetCode()), cause: causeOf(refusal.GetBody())}, nil
		}
		piece := m.GetRequestBody().GetResponse().GetBodyMutation().GetStreamedResponse()
		back.Write(piece.GetBody())
		if piece.GetEndOfStream() {
			if !bytes.Equal(back.Bytes(), body) {
				return uploaded{}, errors.New("the clean body came back changed")
			}
			return uploaded{passed: true}, nil
		}
	}
}

// authority is the name that is asked for, by which a certificate is judged.
func (c probeCommand) authority() string {
	switch {
	case c.ServerName != "":
		return c.ServerName
	case strings.HasPrefix(c.ExtProc, unixPrefix):
		return "localhost"
	}
	return c.ExtProc
}

// credentials are plain text without --ca-file.
func (c probeCommand) credentials() (credentials.TransportCredentials, error) {
	if c.CAFile == "" {
		return insecure.NewCredentials(), nil
	}
	pem, err := os.ReadFile(c.CAFile)
	if err != nil {
		return nil, fmt.Errorf("--ca-file: %w", err)
	}
	cfg := &tls.Config{RootCAs: x509.NewCertPool(), ServerName: c.ServerName, MinVersion: tls.VersionTLS13}
	if !cfg.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("--ca-file: no PEM certificate in %s", c.CAFile)
	}
	if c.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("--cert-file, --key-file: %w", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return credentials.NewTLS(cfg), nil
}

// asEnvoy is an upload in Envoy's words.
func asEnvoy(body []byte) []*extprocv3.ProcessingRequest {
	var headers []*corev3.HeaderValue
	for _, h := range [][2]string{
		{":method", "POST"},
		{":scheme", "http"},
		{":authority", "portcullis-probe"},
		{":path", "/portcullis-probe"},
		{"accept", "application/problem+json"},
		{"content-type", "application/octet-stream"},
	} {
		headers = append(headers, &corev3.HeaderValue{Key: h[0], RawValue: []byte(h[1])})
	}
	return []*extprocv3.ProcessingRequest{
		{
			ProtocolConfig: &extprocv3.ProtocolConfiguration{
				RequestBodyMode:  modev3.ProcessingMode_FULL_DUPLEX_STREAMED,
				ResponseBodyMode: modev3.ProcessingMode_FULL_DUPLEX_STREAMED,
			},
			Request: &extprocv3.ProcessingRequest_RequestHeaders{RequestHeaders: &extprocv3.HttpHeaders{Headers: &corev3.HeaderMap{Headers: headers}}},
		},
		{Request: &extprocv3.ProcessingRequest_RequestBody{RequestBody: &extprocv3.HttpBody{Body: body, EndOfStream: true}}},
	}
}
