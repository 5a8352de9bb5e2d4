package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/keyturn/keyturn/internal/moduleroot"
)

// folder is the demo's own, and everything that it leaves on the disk is in it. Shells know it as $DEMO.
type folder string

func (f folder) path(name string) string     { return filepath.Join(string(f), name) }
func (f folder) kubeconfig() string          { return f.path("kubeconfig") }
func (f folder) operatorKubeconfig() string  { return f.path("operator.kubeconfig") }
func (f folder) certificate() string         { return f.path("keyturn.crt") }
func (f folder) log() string                 { return f.path("operator.log") }
func (f folder) audit() string               { return f.path("audit.log") }
func (f folder) program(name string) string  { return filepath.Join(string(f), "bin", name) }
func (f folder) mountOf(issuer string) mount { return mount(f.path(issuer)) }

// stage is what the story is played on: a control plane, the operator, and what a person would have at hand.
type stage struct {
	*transcript
	// root is the clone, and assets the folder with kube-apiserver, etcd and kubectl.
	root, assets string
	folder       folder
	controlPlane *controlPlane
	operator     *operator
	https        *asker
	// page is examples/browser, while staying.
	page *page
}

// setUp builds and starts everything. What it has started is torn down again if it fails.
func setUp(ctx context.Context, t *transcript) (s *stage, err error) {
	s = &stage{transcript: t, assets: os.Getenv("KUBEBUILDER_ASSETS")}
	if s.assets == "" {
		return nil, errors.New("KUBEBUILDER_ASSETS is not set: run `make demo` or `make run`, which get kube-apiserver and etcd, " +
			"or set it to the folder that `make assets` prints")
	}
	if s.root, err = moduleroot.Find(); err != nil {
		return nil, err
	}
	path, err := os.MkdirTemp("", "keyturn-demo-")
	if err != nil {
		return nil, fmt.Errorf("making a folder for the demo: %w", err)
	}
	s.folder = folder(path)
	defer func() {
		if err != nil {
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			if failure := s.tearDown(); failure != nil {
				err = errors.Join(errNotClean, failure, err)
			}
			s = nil
		}
	}()
	built := make(chan error, 1)
	go func() {
		built <- build(ctx, s.root, s.folder.path("bin"), "./cmd/keyturn", "./examples/signer", "./examples/browser")
	}()
	// envtest knows no context, so an interruption during this takes effect after it.
	s.controlPlane, err = startControlPlane(s.root, s.assets)
	if err := errors.Join(err, <-built); err != nil {
		return s, err
	}
	if err := errors.Join(
		ctx.Err(),
		os.Symlink(filepath.Join(s.assets, "kubectl"), s.folder.program("kubectl")),
		s.controlPlane.writeKubeconfig(s.folder.kubeconfig()),
		s.controlPlane.addOperator(ctx, s.root, s.folder.operatorKubeconfig()),
	); err != nil {
		return s, err
	}
	if s.operator, err = startOperator(ctx, s.folder); err != nil {
		return s, err
	}
	s.https, err = newAsker(s.operator.url, s.folder.certificate())
	return s, err
}

// tearDown stops whatever runs, and removes the folder.
func (s *stage) tearDown() error {
	var failures []error
	if s.page != nil {
		failures = append(failures, s.page.stop())
	}
	if s.operator != nil {
		failures = append(failures, s.operator.stop())
	}
	if s.controlPlane != nil {
		failures = append(failures, s.controlPlane.stop())
	}
	if err := os.RemoveAll(string(s.folder)); err != nil {
		failures = append(failures, fmt.Errorf("removing the demo's folder: %w; remove it by hand", err))
	}
	return errors.Join(failures...)
}

// seconds is a duration for people.
func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
