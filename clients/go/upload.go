package milepost

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"google.golang.org/grpc/codes"

	scenariov1 "milepost/scenario/v1"
)

// What a chunk of an upload holds at most; the contract says 1 MiB.
const chunkBytes = 512 * 1024

// UploadScenario uploads a directory or a zip archive, which the server validates before it stores it.
//
// Of a directory every file below it belongs to the scenario, those apart whose name, or a folder's on the way, begins
// with a dot; only what the server does not hold yet is sent. An upload that broke off is asked for again and goes on
// with what is missing. The name for humans is that of the directory or archive unless displayName is given.
//
// Errors: SCENARIO_INVALID with a violation per finding (`file:line`) and the others of ScenarioService.UploadScenario;
// ScenarioFiles for what is wrong with the local files.
func (c *Client) UploadScenario(ctx context.Context, path, displayName string) (*scenariov1.Scenario, error) {
	about, err := os.Stat(path)
	if err != nil {
		return nil, badFiles(err)
	}
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, badFiles(err)
	}
	if displayName == "" {
		displayName = strings.TrimSuffix(filepath.Base(absolute), ".zip")
	}
	send := c.sendArchive
	if about.IsDir() {
		send = c.sendDirectory
	}
	tries := newTries(c.options.RetryFor)
	for {
		scenario, err := send(ctx, absolute, displayName)
		if err == nil {
			return scenario, nil
		}
		failed := typed(ctx, err)
		if failed.Code != codes.Unavailable {
			return nil, failed
		}
		if err := tries.wait(ctx, failed); err != nil {
			return nil, err
		}
	}
}

func (c *Client) sendArchive(ctx context.Context, path, displayName string) (*scenariov1.Scenario, error) {
	return c.send(ctx, &scenariov1.UploadHeader{
		DisplayName: displayName,
		Content:     &scenariov1.UploadHeader_Zip{Zip: &scenariov1.ZipArchive{}},
	}, map[string]string{"": path}, []string{""})
}

func (c *Client) sendDirectory(ctx context.Context, root, displayName string) (*scenariov1.Scenario, error) {
	files, err := manifest(root)
	if err != nil {
		return nil, badFiles(err)
	}
	missing, err := c.Scenarios.FindMissingFiles(ctx, &scenariov1.FindMissingFilesRequest{Files: files})
	if err != nil {
		return nil, err
	}
	places, order := map[string]string{}, []string{}
	for _, file := range files {
		if slices.Contains(missing.Paths, file.Path) {
			places[file.Path] = filepath.Join(root, filepath.FromSlash(file.Path))
			order = append(order, file.Path)
		}
	}
	return c.send(ctx, &scenariov1.UploadHeader{
		DisplayName: displayName,
		Content:     &scenariov1.UploadHeader_Manifest{Manifest: &scenariov1.Manifest{Files: files}},
	}, places, order)
}

// send sends a header and then the files of order, each from its place.
func (c *Client) send(
	ctx context.Context, header *scenariov1.UploadHeader, places map[string]string, order []string,
) (*scenariov1.Scenario, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.Scenarios.UploadScenario(ctx)
	if err != nil {
		return nil, err
	}
	err = stream.Send(&scenariov1.UploadScenarioRequest{Part: &scenariov1.UploadScenarioRequest_Header{Header: header}})
	for _, path := range order {
		if err == nil {
			err = sendFile(stream, path, places[path])
		}
	}
	// A send fails with EOF when the server has refused the upload already: its answer says why.
	if err != nil && err != io.EOF {
		return nil, err
	}
	answer, err := stream.CloseAndRecv()
	return answer.GetScenario(), err
}

// sendFile sends a file as chunks that call it path; an empty file is one empty chunk.
func sendFile(stream scenariov1.ScenarioService_UploadScenarioClient, path, place string) error {
	file, err := os.Open(place)
	if err != nil {
		return badFiles(err)
	}
	defer file.Close()
	buffer := make([]byte, chunkBytes)
	for offset := int64(0); ; {
		size, err := io.ReadFull(file, buffer)
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return badFiles(err)
		}
		if size == 0 && offset > 0 {
			return nil
		}
		chunk := &scenariov1.FileChunk{Path: path, Offset: offset, Content: buffer[:size]}
		if err := stream.Send(&scenariov1.UploadScenarioRequest{
			Part: &scenariov1.UploadScenarioRequest_Chunk{Chunk: chunk},
		}); err != nil {
			return err
		}
		if offset += int64(size); size < chunkBytes {
			return nil
		}
	}
}

// manifest describes the files below a directory, sorted by path as bytes.
func manifest(root string) ([]*scenariov1.ScenarioFile, error) {
	var files []*scenariov1.ScenarioFile
	err := filepath.WalkDir(root, func(place string, entry fs.DirEntry, err error) error {
		if err != nil || place == root {
			return err
		}
		if strings.HasPrefix(entry.Name(), ".") {
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if entry.IsDir() {
			return nil
		}
		if !entry.Type().IsRegular() {
			return fmt.Errorf("%s is no regular file", place)
		}
		file, err := describe(root, place)
		files = append(files, file)
		return err
	})
	sort.Slice(files, func(a, b int) bool { return files[a].Path < files[b].Path })
	return files, err
}

func describe(root, place string) (*scenariov1.ScenarioFile, error) {
	path, err := filepath.Rel(root, place)
	if err != nil {
		return nil, err
	}
	file, err := os.Open(place)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	digest := sha256.New()
	size, err := io.Copy(digest, file)
	return &scenariov1.ScenarioFile{
		Path: filepath.ToSlash(path), Sha256: hex.EncodeToString(digest.Sum(nil)), SizeBytes: size,
	}, err
}

func badFiles(err error) *Error {
	return &Error{Code: codes.InvalidArgument, Reason: ScenarioFiles, Message: err.Error()}
}
