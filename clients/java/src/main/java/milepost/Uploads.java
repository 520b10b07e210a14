package milepost;

import com.google.protobuf.ByteString;
import io.grpc.StatusException;
import io.grpc.stub.BlockingClientCall;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.Set;
import milepost.scenario.v1.FileChunk;
import milepost.scenario.v1.FindMissingFilesRequest;
import milepost.scenario.v1.Manifest;
import milepost.scenario.v1.ScenarioFile;
import milepost.scenario.v1.ScenarioServiceGrpc.ScenarioServiceBlockingV2Stub;
import milepost.scenario.v1.UploadHeader;
import milepost.scenario.v1.UploadScenarioRequest;
import milepost.scenario.v1.UploadScenarioResponse;
import milepost.scenario.v1.ZipArchive;

/**
 * One try of an upload. Files travel one by one, and only those the server does not hold yet, so a try goes on where
 * the one before broke off; a zip archive travels as it is.
 */
final class Uploads {
    private static final int CHUNK_BYTES = 512 * 1024;
    private static final byte[] ZIP_MAGIC = {'P', 'K', 3, 4};

    private Uploads() {}

    /** Whether a file is a zip archive, by its content. */
    static boolean isZip(Path path) {
        if (!Files.isRegularFile(path)) {
            return false;
        }
        try (InputStream file = Files.newInputStream(path)) {
            return java.util.Arrays.equals(file.readNBytes(ZIP_MAGIC.length), ZIP_MAGIC);
        } catch (IOException unreadable) {
            throw MilepostException.scenarioFiles(unreadable.toString(), unreadable);
        }
    }

    static UploadScenarioResponse zip(ScenarioServiceBlockingV2Stub stub, UploadHeader.Builder header, Path path)
            throws StatusException, InterruptedException {
        Sender sender = new Sender(stub, header.setZip(ZipArchive.getDefaultInstance()).build());
        sender.send(path, "");
        return sender.answer();
    }

    static UploadScenarioResponse files(
            ScenarioServiceBlockingV2Stub stub, UploadHeader.Builder header, ScenarioFiles files)
            throws StatusException, InterruptedException {
        FindMissingFilesRequest request =
                FindMissingFilesRequest.newBuilder().addAllFiles(files.files()).build();
        Set<String> missing = new HashSet<>(stub.findMissingFiles(request).getPathsList());
        header.setConfigPath(files.configPath())
                .setManifest(Manifest.newBuilder().addAllFiles(files.files()));
        Sender sender = new Sender(stub, header.build());
        for (ScenarioFile file : files.files()) {
            if (missing.contains(file.getPath())) {
                sender.send(files.root().resolve(file.getPath()), file.getPath());
            }
        }
        return sender.answer();
    }

    /** The stream of an upload; a server that refuses it early is heard out in {@code answer}. */
    private static final class Sender {
        private final BlockingClientCall<UploadScenarioRequest, UploadScenarioResponse> call;
        private boolean open;

        Sender(ScenarioServiceBlockingV2Stub stub, UploadHeader header) throws StatusException, InterruptedException {
            call = stub.uploadScenario();
            open = call.write(UploadScenarioRequest.newBuilder().setHeader(header).build());
        }

        /** Sends a file as chunks that call it {@code path}; an empty file is one empty chunk. */
        void send(Path source, String path) throws StatusException, InterruptedException {
            try (InputStream content = Files.newInputStream(source)) {
                long offset = 0;
                byte[] piece = content.readNBytes(CHUNK_BYTES);
                while (open && (piece.length > 0 || offset == 0)) {
                    FileChunk chunk = FileChunk.newBuilder()
                            .setPath(path)
                            .setOffset(offset)
                            .setContent(ByteString.copyFrom(piece))
                            .build();
                    open = call.write(UploadScenarioRequest.newBuilder().setChunk(chunk).build());
                    if (piece.length == 0) {
                        return;
                    }
                    offset += piece.length;
                    piece = content.readNBytes(CHUNK_BYTES);
                }
            } catch (IOException unreadable) {
                call.cancel("a file cannot be read", unreadable);
                throw MilepostException.scenarioFiles(unreadable.toString(), unreadable);
            }
        }

        UploadScenarioResponse answer() throws StatusException, InterruptedException {
            if (open) {
                call.halfClose();
            }
            UploadScenarioResponse answer = call.read();
            if (answer == null) {
                throw MilepostException.unreachable("the upload ended without an answer", null);
            }
            return answer;
        }
    }
}
