package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

type options struct {
	source, out, name, tag string
	platforms              []string // such as linux/amd64
}

func main() {
	o := options{}
	flag.StringVar(&o.source, "source", "../../..", "folder of Portcullis' module")
	flag.StringVar(&o.out, "out", "bin/image", "folder for the archive and the bill of materials")
	flag.StringVar(&o.name, "name", "localhost/portcullis", "name of the image")
	flag.StringVar(&o.tag, "tag", "dev", "its tag")
	platforms := flag.String("platforms", "linux/amd64", "platforms, with commas between")
	flag.Parse()
	o.platforms = strings.Split(*platforms, ",")
	if err := o.run(); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

// run writes portcullis-TAG.tar and portcullis-TAG.spdx.json, and prints the
// digest of the image.
func (o options) run() error {
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "portcullis-image-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(work) }()
	modules, err := o.linkedModules()
	if err != nil {
		return err
	}
	var all []built
	for i, platform := range o.platforms {
		b, err := o.build(platform, filepath.Join(work, fmt.Sprint(i)))
		if err != nil {
			return fmt.Errorf("%s: %w", platform, err)
		}
		if b.image, err = o.image(b, modules); err != nil {
			return fmt.Errorf("%s: %w", platform, err)
		}
		all = append(all, b)
	}
	base := filepath.Join(o.out, "portcullis-"+o.tag)
	digest, err := o.archive(all, filepath.Join(work, "layout"), base+".tar")
	if err != nil {
		return err
	}
	if err := writeSBOM(all[0], modules, o, digest, base+".spdx.json"); err != nil {
		return err
	}
	fmt.Printf("%s.tar\n%s.spdx.json\n%s:%s@%s\n", base, base, o.name, o.tag, digest)
	return nil
}
