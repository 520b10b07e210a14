package milepost;

import java.io.IOException;
import java.io.InputStream;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.security.DigestInputStream;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.function.BiConsumer;
import java.util.stream.Stream;
import javax.xml.namespace.QName;
import javax.xml.stream.XMLInputFactory;
import javax.xml.stream.XMLStreamConstants;
import javax.xml.stream.XMLStreamException;
import javax.xml.stream.XMLStreamReader;
import milepost.scenario.v1.ScenarioFile;

/**
 * Which local files make a scenario.
 *
 * <p>A configuration brings what it names and what its additional files name in turn, not the folder it lies in: that
 * folder is where SUMO wrote last week's outputs. The root of the scenario is the nearest directory that holds all of
 * it, so a configuration may use {@code ../net/city.net.xml}; outside its own folder only XML is taken along, lest a
 * configuration from somewhere makes its reader upload a private key. Whether the files are any good is the server's to
 * say: what is named but not there is left out here, and refused there with file and line.
 *
 * @param root the directory that holds them
 * @param configPath path of the configuration below it
 * @param files all files, sorted by path as bytes
 */
record ScenarioFiles(Path root, String configPath, List<ScenarioFile> files) {
    // The contract's limit on the files of one scenario.
    private static final int MAX_FILES = 2000;
    private static final String CONFIG_SUFFIX = ".sumocfg";
    // Elements and their attributes that name a file to read; any other `file` of an additional file is written.
    private static final Set<String> READ = Set.of(
            "variableSpeedSign file", "calibrator file", "edgeData edgesFile", "laneData edgesFile");
    // Sections of a configuration whose options name files to write, if any.
    private static final Set<String> WRITING_SECTIONS = Set.of("output", "report", "gui_only");
    private static final Set<String> ADDITIONAL_OPTIONS = Set.of("additional-files", "additional", "a");
    private static final XMLInputFactory XML = XMLInputFactory.newFactory();

    static {
        XML.setProperty(XMLInputFactory.SUPPORT_DTD, false);
        XML.setProperty(XMLInputFactory.IS_SUPPORTING_EXTERNAL_ENTITIES, false);
    }

    private record Option(String name, String value) {}

    /** The scenario of a {@code .sumocfg}, or of a directory with exactly one. Throws SCENARIO_FILES. */
    static ScenarioFiles collect(Path path) {
        try {
            Path config = configOf(path);
            Path folder = config.getParent();
            Set<Path> wanted = closure(config);
            if (wanted.size() > MAX_FILES) {
                throw refused(path + " names " + wanted.size() + " files; the limit is " + MAX_FILES);
            }
            Path root = folder;
            for (Path file : wanted) {
                while (!file.startsWith(root)) {
                    root = root.getParent();
                }
            }
            SortedMap<byte[], ScenarioFile> described = new TreeMap<>(Arrays::compareUnsigned);
            for (Path file : wanted) {
                refuseLinks(file, root);
                ScenarioFile one = described(root, file);
                described.put(one.getPath().getBytes(StandardCharsets.UTF_8), one);
            }
            return new ScenarioFiles(root, slashed(root, config), List.copyOf(described.values()));
        } catch (IOException unreadable) {
            throw MilepostException.scenarioFiles(unreadable.toString(), unreadable);
        }
    }

    private static Path configOf(Path path) throws IOException {
        if (Files.isRegularFile(path)) {
            return path.toAbsolutePath().getParent().toRealPath().resolve(path.getFileName());
        }
        if (!Files.isDirectory(path)) {
            throw refused(path + ": no such file or directory");
        }
        try (Stream<Path> entries = Files.list(path.toRealPath())) {
            // Archives made on a Mac leave a hidden `._name` beside each file.
            List<Path> found = entries.filter(it -> name(it).endsWith(CONFIG_SUFFIX) && !name(it).startsWith("."))
                    .sorted()
                    .toList();
            if (found.size() == 1) {
                return found.get(0);
            }
            throw refused(
                    found.isEmpty()
                            ? path + " holds no " + CONFIG_SUFFIX
                            : path + " holds several configurations, name one: " + found);
        }
    }

    /** The configuration, the files it names as far as they exist, and those its additional files name. */
    private static Set<Path> closure(Path config) throws IOException {
        Path folder = config.getParent();
        Set<Path> wanted = new LinkedHashSet<>(List.of(config));
        for (Option option : inputs(config)) {
            for (Path file : existing(folder, option.value(), folder)) {
                wanted.add(file);
                if (ADDITIONAL_OPTIONS.contains(option.name())) {
                    for (String inner : readBy(file)) {
                        // SUMO resolves some names against the file they stand in, some against where it runs.
                        wanted.addAll(existing(file.getParent(), inner, folder));
                        wanted.addAll(existing(folder, inner, folder));
                    }
                }
            }
        }
        return wanted;
    }

    /** Options of a configuration outside the sections of outputs, each with its value. */
    private static List<Option> inputs(Path config) throws IOException {
        List<Option> found = new ArrayList<>();
        String[] section = {""};
        parse(config, (name, attributes) -> {
            String value = attributes.getAttributeValue(null, "value");
            value = value == null ? attributes.getAttributeValue(null, "v") : value;
            if (value == null) {
                section[0] = name;
            } else if (!WRITING_SECTIONS.contains(section[0]) && !name.contains("output")) {
                found.add(new Option(name, value));
            }
        });
        return found;
    }

    /** What an additional file names for SUMO to read. */
    private static List<String> readBy(Path additional) throws IOException {
        List<String> found = new ArrayList<>();
        if (!name(additional).endsWith(".gz")) {
            parse(additional, (name, attributes) -> {
                for (int index = 0; index < attributes.getAttributeCount(); index++) {
                    QName attribute = attributes.getAttributeName(index);
                    if (READ.contains(name + " " + attribute.getLocalPart())) {
                        found.add(attributes.getAttributeValue(index));
                    }
                }
            });
        }
        return found;
    }

    /** Calls {@code start} for each element up to the first error, which the server will report with its line. */
    private static void parse(Path path, BiConsumer<String, XMLStreamReader> start) throws IOException {
        try (InputStream file = Files.newInputStream(path)) {
            XMLStreamReader reader = XML.createXMLStreamReader(file);
            while (reader.hasNext()) {
                switch (reader.next()) {
                    case XMLStreamConstants.START_ELEMENT -> start.accept(reader.getLocalName(), reader);
                    // It may define entities: nothing good comes of them, and the server refuses it.
                    case XMLStreamConstants.DTD -> {
                        return;
                    }
                    default -> {}
                }
            }
        } catch (XMLStreamException malformed) {
            return;
        }
    }

    /** Files that an option or attribute names, as far as they exist and may be taken along. */
    private static List<Path> existing(Path folder, String value, Path below) {
        List<Path> found = new ArrayList<>();
        for (String part : value.split(",")) {
            // SUMO decodes %20 and the like in the file names of configurations it saved itself.
            for (String name : new LinkedHashSet<>(List.of(part.strip(), unquoted(part.strip())))) {
                Path file = name.isEmpty() || name.startsWith("/") ? null : resolved(folder, name);
                if (file != null
                        && (file.startsWith(below) || name(file).endsWith(".xml") || name(file).endsWith(".xml.gz"))
                        && (Files.isRegularFile(file) || Files.isSymbolicLink(file))) {
                    found.add(file);
                }
            }
        }
        return found;
    }

    private static Path resolved(Path folder, String name) {
        try {
            return folder.resolve(name).normalize();
        } catch (InvalidPathException noPath) {
            return null;
        }
    }

    private static String unquoted(String name) {
        try {
            // A plus stands for itself in a file name.
            return URLDecoder.decode(name.replace("+", "%2B"), StandardCharsets.UTF_8);
        } catch (IllegalArgumentException literal) {
            return name;
        }
    }

    private static void refuseLinks(Path file, Path root) {
        for (Path part = file; !part.equals(root); part = part.getParent()) {
            if (Files.isSymbolicLink(part)) {
                throw refused(part + " is a symbolic link");
            }
        }
    }

    private static ScenarioFile described(Path root, Path file) throws IOException {
        try (DigestInputStream content = new DigestInputStream(
                Files.newInputStream(file), MessageDigest.getInstance("SHA-256"))) {
            long sizeBytes = content.transferTo(java.io.OutputStream.nullOutputStream());
            return ScenarioFile.newBuilder()
                    .setPath(slashed(root, file))
                    .setSha256(HexFormat.of().formatHex(content.getMessageDigest().digest()))
                    .setSizeBytes(sizeBytes)
                    .build();
        } catch (NoSuchAlgorithmException impossible) {
            throw new IllegalStateException("every Java has SHA-256", impossible);
        }
    }

    private static String slashed(Path root, Path file) {
        return root.relativize(file).toString().replace('\\', '/');
    }

    private static String name(Path file) {
        return file.getFileName().toString();
    }

    private static MilepostException refused(String message) {
        return MilepostException.scenarioFiles(message, null);
    }
}
