// Command portcullis is the malware gate for Envoy: an external-processing
// service that holds every HTTP body until it is scanned.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/portcullis-av/portcullis/cmd/portcullis/app"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := app.Run(ctx, app.Process{
		Args: os.Args[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv,
	})
	stop()
	os.Exit(code)
}
