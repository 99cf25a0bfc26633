-- The directory of links, which is in the first database only. `body` is the state of a link, NULL once it
-- was removed. The greatest version is in `meta`, whose row is locked by whoever writes: versions become
-- visible in their order.

CREATE TABLE directory(
    link bytea PRIMARY KEY, name text NOT NULL, version bigint NOT NULL UNIQUE, body text
);
CREATE UNIQUE INDEX directory_name ON directory(name) WHERE body IS NOT NULL;

INSERT INTO meta VALUES ('directory', 0);

-- Writes the states of links, each over the version in `a_befores`, 0 for none. Returns the new versions: NULL
-- where that is not the present one, the link was removed, or another link has the name.
CREATE FUNCTION write_links(
    a_links bytea[], a_names text[], a_befores bigint[], a_bodies text[], a_timeline bigint
) RETURNS bigint[] LANGUAGE plpgsql AS $$
DECLARE
    v_last bigint;
    v_first bigint := epoch(a_timeline) << 40;
    v_was directory;
    v_versions bigint[];
    e record;
BEGIN
    SELECT m.value INTO v_last FROM meta m WHERE m.key = 'directory' FOR UPDATE;
    -- Links that are all new are written at once: they may be those of a whole file.
    IF 0 = ALL (a_befores) THEN
        v_last := greatest(v_last, v_first - 1);
        INSERT INTO directory
        SELECT u.link, u.name, v_last + u.i, u.body
        FROM unnest(a_links, a_names, a_bodies) WITH ORDINALITY u(link, name, body, i) ORDER BY u.i
        ON CONFLICT DO NOTHING;
        v_versions := ARRAY(
            SELECT d.version FROM generate_series(1, cardinality(a_links)) i
            LEFT JOIN directory d ON d.version = v_last + i ORDER BY i);
        UPDATE meta m SET value = v_last + cardinality(a_links) WHERE m.key = 'directory';
        RETURN v_versions;
    END IF;
    FOR e IN SELECT * FROM unnest(a_links, a_names, a_befores, a_bodies)
        WITH ORDINALITY u(link, name, before, body, i) ORDER BY u.i
    LOOP
        v_was := NULL;
        SELECT * INTO v_was FROM directory d WHERE d.link = e.link;
        IF coalesce(v_was.version, 0) <> e.before OR (e.body IS NOT NULL AND (
            (v_was.version IS NOT NULL AND v_was.body IS NULL)
            OR EXISTS (SELECT FROM directory d WHERE d.name = e.name AND d.body IS NOT NULL AND d.link <> e.link)))
        THEN
            v_versions := array_append(v_versions, NULL);
        ELSE
            v_last := greatest(v_last + 1, v_first);
            INSERT INTO directory VALUES (e.link, e.name, v_last, e.body)
            ON CONFLICT (link) DO UPDATE
            SET name = excluded.name, version = excluded.version, body = excluded.body;
            v_versions := array_append(v_versions, v_last);
        END IF;
    END LOOP;
    UPDATE meta m SET value = v_last WHERE m.key = 'directory';
    RETURN v_versions;
END $$;
